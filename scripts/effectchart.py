"""Draws what moves a model's probabilities, and how much."""

from matplotlib.axes import Axes

from scripts import canvas, effects
from scripts.canvas import Drawing, Look, Scale
from scripts.effects import Effect
from scripts.model import Model

N_SHOWN = 15
N_TOLD = 5
BAR_PX = 22
WIDEST_PX = 320


def name_of(effect: Effect) -> str:
    """Name a column and its step in a length that fits beside a chart."""
    return f"{canvas.shorten(effect.column, 20)}: {canvas.shorten(effect.step, 28)}"


def draw_effects(axes: Axes, look: Look, shown: list[Effect]) -> None:
    """Draw a bar to the right for what raises the risk, to the left for what lowers it."""
    values = [effect.log_odds for effect in shown]
    colours = [look.warning if value > 0 else look.accent for value in values]
    axes.barh(range(len(shown)), values, height=0.7, color=colours)
    axes.axvline(0, color=look.ink, linewidth=0.8)
    names = [canvas.fit(name_of(effect), WIDEST_PX) for effect in shown]
    y = Scale(len(shown) - 0.4, -0.6, range(len(shown)), names)
    x = canvas.round_scale(min(0.0, *values), max(0.0, *values))
    canvas.frame(axes, look, x, y, ("change of the log-odds: right raises the risk", ""))


def draw_model(used: Model, release: str) -> Drawing:
    """Draw the strongest effects of a model, one step of each column."""
    found = effects.list_effects(used)
    shown = found[:N_SHOWN]
    told = "; ".join(f"{name_of(effect)} {effect.log_odds:+.3f}" for effect in shown[:N_TOLD])
    more = f", the strongest {N_TOLD} of {len(found)}" if len(found) > N_TOLD else ""
    alt = (
        f"What changes the log-odds of release {release}{more}: {told}. Above 0 it raises the risk."
    )

    def panel(axes: Axes, look: Look) -> None:
        if shown:
            draw_effects(axes, look, shown)
        else:
            canvas.say(axes, look, "The model has no columns.")

    widest = max((canvas.width_of(name_of(effect)) for effect in shown), default=0.0)
    return Drawing(
        "effects", f"Strongest effects on the risk ({len(shown)} of {len(found)})", alt, "models",
        680, 80 + BAR_PX * max(len(shown), 4), (panel,), left=int(24 + min(widest, WIDEST_PX)),
    )  # fmt: skip
