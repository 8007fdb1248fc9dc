"""Joint choice over every family under one budget: option tables, what each loses and costs, the exact solve."""
