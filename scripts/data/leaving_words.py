"""Words of leaving and staying in the names and labels of client tables, in several languages.

English, German, French, Italian, Spanish and Dutch, with or without accents.
"""

import re
import unicodedata

# Of members, subscribers, devices, students and tenants.
OTHER_WORDS = (
    r"resign|withdr(?:awn|ew)|disconnected|(?<![a-z])ceased|(?<![a-z])departed|moved.?out|"
    r"drop(?:ped)?[ _.-]?out|(?:no|non|not)[ _.-]?renew|(?<![a-z])former[ _.-]?"
    r"(?:client|customer|member|user|subscriber|tenant|student|employee)"
)
# Of "ungekündigt" the client has not left, and "Kündigungsfrist" is a term of the contract.
OTHER_LANGUAGES = (
    r"(?<!unge)kue?ndig(?!ungs(?!datum|tag))|wandert|abwander|austritt|ausgetreten|abgang|"
    r"abgegangen|ehemalig|verloren|inaktiv|stornier|resili|annule|annulation|(?<![a-z])depart(?!e?ment)|"
    r"(?<![a-z])partie?s?$|perdue?s?$|inactif|(?<![a-z])ancien(ne)?s?(?![a-z])|disdett|recess[oi]|"
    r"abbandon|cessat|(?<![a-z])bajas?(?![a-z])|abandon|opgezegd|opzegging|vertrokken|beeindigd"
)
LEFT = re.compile(
    r"churn|exit|attrit|left|leav|cancel|quit|lapse|lost|closed|gone|inactiv|unsubscri|terminat|"
    rf"dormant|defect|{OTHER_WORDS}|{OTHER_LANGUAGES}",
    re.I,
)
TARGET = re.compile(
    r"churn|exit|attrit|left|leave|cancel|quit|lapse|inactiv|unsubscri|terminat|target|label|"
    r"(^|[ _.-])(outcome|class|y|lost|gone|closed|defected)$|"
    rf"{OTHER_WORDS}|{OTHER_LANGUAGES}",
    re.I,
)
LEAVING_DATE = re.compile(
    r"churn|cancel|left|leav|exit|terminat|end.?date|close|lapse|quit|gone|"
    r"abmeldung|abgemeldet|beendet|storno|deactiv|deleted|(?<![a-z])ended|unsubscri|inactive.since|"
    rf"{OTHER_WORDS}|(?<![a-z])lost(?![a-z])|(?<![a-z])sortie|cessazione|opzegdatum|uitgeschreven|"
    rf"{OTHER_LANGUAGES}",
    re.I,
)
# The end of a contract, which is the day of leaving if only those who left have it.
END_DATE = re.compile(
    r"ende?$|(?<![a-z])(end|ends|bis|until)(?![a-z])|valid.?to|expir|einddatum|(?<![a-z])fin(?![a-z])",
    re.I,
)
# A flag of clients of the day. `newsletter_active` and `auto_renew` are of something else.
ACTIVE = r"(active|aktiv|actif|attiv[oa]|activ[oa]|actief)"
CLIENT = r"(customer|client|kunde|member|mitglied|account|konto|abo|flag|yn)"
ACTIVE_FLAG = re.compile(
    rf"(is|ist|est|still|noch)?[ _.-]*({ACTIVE}[ _.-]*{CLIENT}?|"
    rf"{CLIENT}[ _.-]*(is[ _.-]*)?{ACTIVE})",
    re.I,
)
STAYED = re.compile(
    r"(is|has|was|still)?(retain|retention|stay|activ|renew|loyal|remain|kept|keep|continu|still(?![a-z])|"
    r"subscri|alive|current|existing|aktiv|actif|attiv|actief|bestand|"
    r"bestehend|ungekue?ndigt|geblieben|verlanger|fidel|abonne)"
)
NEGATIONS = frozenset({"no", "non", "not", "un", "nicht", "kein", "keine", "pas"})
# The reason for leaving, known of leavers only, is no status.
REASON = re.compile(r"reason|categor|cause|grund|kategorie|motif|raison|motiv", re.I)
# A word of a name: "isActive", "is_active", "IS_ACTIVE" and "is active" have the same two.
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# Answers of other languages than English, whose words are those of the config.
YES = frozenset({"ja", "j", "oui", "o", "si", "sí", "s", "wahr", "vrai", "vero", "verdadero"})
NO = frozenset({"nein", "nee", "non", "falsch", "faux", "falso"})


def without_accents(text: str) -> str:
    """Return a text without accents, however its letters are composed."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def is_target_name(name: str) -> bool:
    """Return whether a column is named after leaving, or as a target."""
    plain = without_accents(name)
    return TARGET.search(plain) is not None and REASON.search(plain) is None


def is_reason_name(name: str) -> bool:
    """Return whether a column is named after the reason of something."""
    return REASON.search(without_accents(name)) is not None


def means_left(text: str) -> bool:
    """Return whether a label, or the name of a folder, means leaving."""
    return LEFT.search(without_accents(text)) is not None


def is_leaving_date(name: str) -> bool:
    """Return whether a column is named after the day of leaving."""
    return LEAVING_DATE.search(without_accents(name)) is not None


def is_end_date(name: str) -> bool:
    """Return whether a column is named after the end of something, such as a contract."""
    return END_DATE.search(without_accents(name)) is not None


def is_active_flag(name: str) -> bool:
    """Return whether a column is named as the flag of clients of the day, like `is_active`."""
    return ACTIVE_FLAG.fullmatch(without_accents(name)) is not None


def means_stayed(text: str) -> bool:
    """Return whether a name or a label means staying, like `retained`."""
    words = [word.lower() for word in WORDS.findall(without_accents(text))]
    if means_left(text) or NEGATIONS & set(words):
        return False
    return any(STAYED.match(word) for word in words)
