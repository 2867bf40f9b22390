"""Known data sets, digits that need no file, and your own pictures."""

from gedanken.datasets.cifar import load_cifar10
from gedanken.datasets.drawn_digits import load_drawn_digits
from gedanken.datasets.idx import load_conv, load_fashion_conv, load_fashion_fc, load_fc
from gedanken.datasets.picture_generators import HTTPImageGenerator, ImageFolderGenerator
from gedanken.datasets.pictures import LabelledPictures, Pictures, load_images, load_pictures
from gedanken.datasets.svmlight import load_svmlight

__all__ = [
    "HTTPImageGenerator",
    "ImageFolderGenerator",
    "LabelledPictures",
    "Pictures",
    "load_cifar10",
    "load_conv",
    "load_drawn_digits",
    "load_fashion_conv",
    "load_fashion_fc",
    "load_fc",
    "load_images",
    "load_pictures",
    "load_svmlight",
]
