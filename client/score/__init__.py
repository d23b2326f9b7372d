"""`ra-client score`: a hospital's studies, scored on its own machine; all that is written stays at the site."""
