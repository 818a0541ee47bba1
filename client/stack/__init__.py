"""The embedded stack behind `vader up`: real servers as processes, all data under one folder."""
