"""Tools for testing clgrad and programs that use it."""
