"""What people look at: figures as SVG and PNG, and pages that are one HTML file each."""
