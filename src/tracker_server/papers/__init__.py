"""Papers: invoices, receipts, statements and reports as PDF. Values in, bytes out; typst lays them out."""
