"""Decisions about records: what follows from what they say. Pure: no clock, no database, no connection."""
