"""The charts and the PDF report."""
