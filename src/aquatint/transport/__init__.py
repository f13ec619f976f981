"""Semi-discrete optimal transport: from a density to a finite set of codes, in numpy."""
