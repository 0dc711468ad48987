DROP TABLE hold_lines;
