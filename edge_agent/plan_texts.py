"""What `edge-agent plan` says, in Ukrainian and English; one frozen value a language, so that none can lack a word."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.config import Language
from edge_agent.plan import Asked


@dataclass(frozen=True, slots=True)
class PlanTexts:
    """The words of one language; those with `{…}` are formats."""

    answers: dict[Asked, str]
    fits: str
    fits_not: str
    cameras: str
    bitrate: str
    days: str
    daily: str
    footage: str
    margin: str
    holds: str
    reserve: str
    filesystem: str
    spare: str
    disk: str
    buy: str
    every: str
    wear: str
    per_year: str
    ssd: str
    card: str
    no_card: str
    hard_disk: str
    hard_disk_over: str
    notes: tuple[str, ...]
    many_years: str
    years: str
    sizes: tuple[str, str, str, str]
    """GB, TB, GiB, TiB."""
    mbit: str
    point: str
    """Before the decimals."""

    def number(self, value: float) -> str:
        """Three figures: `6.92`, `761`."""
        text = f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"
        return self.spelled(text.rstrip("0").rstrip(".") if "." in text else text)

    def spelled(self, number: str) -> str:
        return number.replace(".", self.point)

    def size(self, amount: float) -> str:
        """`6.92 TB`, `761 GB`: three figures."""
        unit, word = (1e12, self.sizes[1]) if amount >= 1e12 else (1e9, self.sizes[0])
        return f"{self.number(amount / unit)} {word}"

    def binary(self, amount: float) -> str:
        """`8.24 TiB`, as many tools show it."""
        unit, word = (2**40, self.sizes[3]) if amount >= 2**40 else (2**30, self.sizes[2])
        return f"{self.number(amount / unit)} {word}"

    def rate(self, bps: float) -> str:
        return f"{self.number(bps / 1e6)} {self.mbit}"


_EN = PlanTexts(
    answers={
        Asked.DISK: "Disk needed: [bold green]{disk}[/]  [dim]({binary} in tools that count by 1024)[/]",
        Asked.DAYS: "Days kept: [bold green]{days}[/]  on a disk of {disk}  [dim]({binary})[/]",
        Asked.BITRATE: "Bitrate of each: up to [bold green]{bitrate}[/]  on a disk of {disk}  [dim]({binary})[/]",
        Asked.CAMERAS: "Cameras: at most [bold green]{cameras}[/]  on a disk of {disk}  [dim]({binary})[/]",
    },
    fits="[green]✓ It is enough for {days} days.[/]",
    fits_not="[bold red]✗ It is not enough for {days} days: take {disk}, or at most {bitrate} for each camera.[/]",
    cameras="cameras",
    bitrate="bitrate",
    days="days",
    daily="each, a day",
    footage="footage",
    margin="margin {part}: cameras exceed their bitrate",
    holds="holds {part}: kept longer, by order",
    reserve="reserve: stays free on the disk",
    filesystem="file system {part}: ext4 and its reserve for root",
    spare="spare",
    disk="disk",
    buy="[bold]Buy:[/] {count} × {size}",
    every="written anew every {days} days",
    wear="Wear",
    per_year="a year",
    ssd="SSD of {size}: data sheets promise 300–600 × its size in all: {years}",
    card="microSD “high endurance” of {size}: about 1000 × its size: {years}; an ordinary card promises nothing",
    no_card="microSD: there is none so large",
    hard_disk="hard disk: surveillance models take 180 TB a year; this is less",
    hard_disk_over="hard disk: surveillance models take 180 TB a year; this is more: there are some for 300 and 550",
    notes=(
        "k, M, G and T are decimal, as on cameras' pages and disks' labels: 4M = 4 000 000 bit/s, 1 TB = 10¹² bytes.",
        "Flushing every few seconds can make flash write up to twice as much; the years count with 1 to 2.",
        "A plan believes the bitrates. Once it records: edge-agent archive forecast",
    ),
    many_years="more than 20 years",
    years="about {low} to {high} years",
    sizes=("GB", "TB", "GiB", "TiB"),
    mbit="Mbit/s",
    point=".",
)

_UK = PlanTexts(
    answers={
        Asked.DISK: "Потрібен диск: [bold green]{disk}[/]  [dim]({binary} у програмах, що рахують по 1024)[/]",
        Asked.DAYS: "Зберігатиметься днів: [bold green]{days}[/]  на диску {disk}  [dim]({binary})[/]",
        Asked.BITRATE: "Потік кожної камери: щонайбільше [bold green]{bitrate}[/]  на диску {disk}  [dim]({binary})[/]",
        Asked.CAMERAS: "Камер: щонайбільше [bold green]{cameras}[/]  на диску {disk}  [dim]({binary})[/]",
    },
    fits="[green]✓ На {days} дн. вистачить.[/]",
    fits_not="[bold red]✗ На {days} дн. не вистачить: візьміть {disk} або щонайбільше {bitrate} на камеру.[/]",
    cameras="камер",
    bitrate="потік",
    days="днів",
    daily="кожна за добу",
    footage="записи",
    margin="запас {part}: камери перевищують свій потік",
    holds="утримання {part}: довше зберігання за розпорядженням",
    reserve="резерв: лишається вільним на диску",
    filesystem="файлова система {part}: ext4 і її резерв для root",
    spare="вільно",
    disk="диск",
    buy="[bold]Купити:[/] {count} × {size}",
    every="повністю перезаписується кожні {days} дн.",
    wear="Зношування",
    per_year="на рік",
    ssd="SSD на {size}: у паспортах обіцяють 300–600 його обсягів загалом: {years}",
    card="microSD «high endurance» на {size}: близько 1000 обсягів: {years}; звичайна картка нічого не обіцяє",
    no_card="microSD: таких великих немає",
    hard_disk="жорсткий диск: для відеоспостереження – до 180 ТБ на рік; тут менше",
    hard_disk_over="жорсткий диск: для відеоспостереження – до 180 ТБ на рік; тут більше: є моделі на 300 і 550",
    notes=(
        "k, M, G і T десяткові, як на сторінках камер і на дисках: 4M = 4 000 000 біт/с, 1 ТБ = 10¹² байтів.",
        "Скидання щокілька секунд може вдвічі збільшити запис у флешпам'ять; роки пораховано з множником від 1 до 2.",
        "План вірить названим потокам. Коли запис уже йде: edge-agent archive forecast",
    ),
    many_years="понад 20 років",
    years="приблизно від {low} до {high} років",
    sizes=("ГБ", "ТБ", "ГіБ", "ТіБ"),
    mbit="Мбіт/с",
    point=",",
)


def plan_texts(language: Language) -> PlanTexts:
    return _UK if language == "uk" else _EN
