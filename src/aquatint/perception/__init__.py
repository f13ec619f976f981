"""What the eye sees: feature stacks, Wasserstein distortion over them, and the maps that say how local it is.

features        from an image to feature maps: pixels, VGG, SqueezeNet, and a stack without weights (steerable)
wasserstein     the distortion, its value and its gradient, in PyTorch
sigma           width of the window in which statistics are compared, for every pixel; numpy and Pillow only
masking         how much an error counts at every pixel, likewise
maps            what both need of maps
objective       distortions for the fit of a picture: the native engine needs no PyTorch
weights         where the files of trained networks are found, and how they get there
"""
