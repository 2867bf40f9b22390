"""Known data sets, some that need no file, and your own pictures, texts and series."""

from gedanken.data.windows import WindowGenerator, split_in_time, windows
from gedanken.datasets.cifar import load_cifar10
from gedanken.datasets.drawn_digits import load_drawn_digits
from gedanken.datasets.idx import load_conv, load_fashion_conv, load_fashion_fc, load_fc
from gedanken.datasets.pairs import ImagePairGenerator, ImagePairs, load_image_pairs
from gedanken.datasets.picture_generators import HTTPImageGenerator, ImageFolderGenerator
from gedanken.datasets.pictures import LabelledPictures, Pictures, load_images, load_pictures
from gedanken.datasets.sunspots import load_sunspots
from gedanken.datasets.svmlight import load_svmlight
from gedanken.datasets.texts import LabelledTexts, load_texts

__all__ = [
    "HTTPImageGenerator",
    "ImageFolderGenerator",
    "ImagePairGenerator",
    "ImagePairs",
    "LabelledPictures",
    "LabelledTexts",
    "Pictures",
    "WindowGenerator",
    "load_cifar10",
    "load_conv",
    "load_drawn_digits",
    "load_fashion_conv",
    "load_fashion_fc",
    "load_fc",
    "load_image_pairs",
    "load_images",
    "load_pictures",
    "load_sunspots",
    "load_svmlight",
    "load_texts",
    "split_in_time",
    "windows",
]
