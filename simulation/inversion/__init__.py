"""What one update tells of an image: an attack that draws images of virtual patients from what a site sends."""
