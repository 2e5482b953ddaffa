"""`dsray forget`: rows, all that was made of them, and what would bring them back. docs/forget.md"""
