DROP TABLE stock_tellings;
