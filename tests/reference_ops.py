"""Collect the functions of `minicnn.reference` in one namespace."""

from types import SimpleNamespace

from minicnn import reference

modules = [getattr(reference, name) for name in reference.__all__]
reference_ops = SimpleNamespace(
    **{
        name: function
        for module in modules
        for name, function in vars(module).items()
        if getattr(function, "__module__", None) == module.__name__
    }
)
