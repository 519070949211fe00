"""earnbook.rules: definitions and CEL rules, from text to functions that propose effects. No I/O beyond reading definition files."""
