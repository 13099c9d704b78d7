"""One machine plays the topology: real programs in the roles of AWS blocks."""
