"""The demo model: a small vision-language model that sees, trained from nothing on drawings.

    python -m tools.train_demo FOLDER          # draw, train, write the checkpoint (under an hour on 2 cores)
    python -m tools.train_demo.evaluate        # how often it is right, asked through registry.load("demo")

It is Qwen2-VL in mlx-vlm's own classes, at a ten-thousandth of the size, and knows six colours, three shapes,
four sides and the order of two images. That is enough to tell whether a model was shown its images, upright,
in their colours and in order; random weights cannot tell.

The way of a drawing: drawings.py draws it, conversations.py asks about it, batches.py writes both as arrays,
losses.py says what counts, training.py learns from that, checkpoint.py writes the files.
"""
