"""The same class twice, over RLlib's base class and over ours."""

NODE = """
class {name}({base}):
    def __init__(self, *parts, start=0):
        self.parts, self.value, self.fails = list(parts), start, False

    def get_state(self, components=None, *, not_components=None, **kwargs):
        if self.fails:
            raise RuntimeError("stopped")
        state = {{"value": self.value}} if components is None else {{}}
        for name, part in self.get_checkpointable_components():
            if self._check_component(name, components, not_components):
                state[name] = part.get_state(
                    components=self._get_subcomponents(name, components),
                    not_components=self._get_subcomponents(name, not_components),
                )
        return state

    def set_state(self, state):
        self.value = state["value"]

    def get_ctor_args_and_kwargs(self):
        return (), {{}}

    def get_checkpointable_components(self):
        return [(f"part{{n}}", part) for n, part in enumerate(self.parts)]
"""


def node(cls, value, *parts):
    made = cls(*parts)
    made.value = value
    return made


def saved(made, path, **options):
    made.save_to_path(path, **options)
    return path


def restored(cls, path, *parts, **options):
    made = cls(*parts)
    made.restore_from_path(path, **options)
    return made
