"""Charts and the PDF report."""
