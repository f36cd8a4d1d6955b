"""YAML texts in which no key is repeated."""

import yaml


def load(text: str) -> object:
    """Return the content of a text; raises yaml.YAMLError, for a repeated key too.

    >>> load("a: {b: 1, c: [2]}")
    {'a': {'b': 1, 'c': [2]}}
    """
    return yaml.load(text, _Loader)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """libyaml's loader: ten times as fast as OmegaConf's, and like that one it refuses a repeated key."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        """Raise an error for a repeated key: the second value would silently replace the first."""
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            raise yaml.constructor.ConstructorError(None, None, "a key is repeated", node.start_mark)
        return super().construct_mapping(node, deep)
