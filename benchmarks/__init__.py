"""What the product claims about speed, measured beside its predecessor and beside PostgreSQL itself."""
