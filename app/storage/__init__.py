"""The only room that speaks SQL: the engine, the tables, one store a file."""
