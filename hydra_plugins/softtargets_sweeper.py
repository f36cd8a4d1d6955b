"""Hydra's basic sweeper, with every cell checked before the first one runs."""

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class CheckedSweeper(BasicSweeper):
    """Refuses a sweep of which one cell could not run, before anything is written."""

    def sweep(self, arguments: list[str]) -> object:
        """Check all cells, then sweep."""
        from softtargets.command import check_cells

        check_cells(self.cells(arguments))
        return super().sweep(arguments)

    def cells(self, arguments: list[str]):
        """Yield the composed config of every cell."""
        loader = self.hydra_context.config_loader
        from hydra.core.override_parser.overrides_parser import OverridesParser

        overrides = OverridesParser.create(config_loader=loader).parse_overrides(self._parse_config() + arguments)
        for batch in self.split_arguments(overrides, None):
            for cell in batch:
                yield loader.load_sweep_config(self.config, cell)

    def validate_batch_is_legal(self, batch) -> None:
        """Do nothing: the cells have been composed and checked already."""
