"""What knows no mesh: system calls and what is made of them, and where Tulle keeps its files."""
