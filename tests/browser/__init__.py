"""JupyterLab and Notebook 7 in a real Chromium, as a user sees them."""
