"""earnbook.rules: definitions and CEL rules, from text to functions that propose effects; reads definition files alone."""
