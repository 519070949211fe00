"""earnbook.rules: definitions and CEL rules, from text to functions proposing effects; reads definition files only."""
