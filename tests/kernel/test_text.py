"""The analyser, the search grammar, and the reference of what a search finds."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from thane.kernel.errors import Invalid
from thane.kernel.records.text import (
    MAX_QUERY_CHARS,
    MAX_WORD,
    And,
    Node,
    Not,
    Or,
    Phrase,
    Prefix,
    TextQuery,
    Word,
    analyse,
    matches_text,
    parse_query,
    stem,
    words,
)

SOME = st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from('ab1_ -"*OR沙é'), max_size=60)


def finds(query: str, text: str) -> bool:
    return matches_text(parse_query(query), analyse(text))


class TestAnalyser:
    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("", []),
            ("  \n\t", []),
            ("Running runs RUN", ["run", "run", "run"]),
            ("snake_case camelCase", ["snake", "case", "camelcas"]),
            ("utf8 x86_64 3.14", ["utf", "8", "x", "86", "64", "3", "14"]),
            ("os.path.join(a, 'b')", ["os", "path", "join", "a", "b"]),
            ("don't re-use", ["don", "t", "re", "use"]),
            ("organization happiness flies", ["organiz", "happi", "fli"]),
            ("ＦＵＬＬ ﬁle ²", ["full", "file", "2"]),
            ("Straße STRASSE", ["strass", "strass"]),
            ("café cafe\u0301", ["café", "café"]),
            ("沙箱sandbox管理2", ["沙", "箱", "sandbox", "管", "理", "2"]),
            ("ΟΔΟΣ οδός", ["οδοσ", "οδόσ"]),
            ("क्षेत्र", ["क्षेत्र"]),
            ("naïve🚀rocket", ["naïve", "rocket"]),
        ],
    )
    def test_words(self, text: str, found: list[str]) -> None:
        assert analyse(text) == found

    @given(SOME)
    def test_words_hold_letters_marks_and_digits_only_and_one_class_each(self, text: str) -> None:
        for word in analyse(text):
            classes = {
                "L" if unicodedata.category(c)[0] in "LM" else unicodedata.category(c)[0] for c in word
            }
            assert classes in ({"L"}, {"N"})
            assert 0 < len(word) <= MAX_WORD

    @given(st.text(alphabet=st.characters(max_codepoint=127)))
    def test_the_way_for_ascii_is_the_way_for_all(self, text: str) -> None:
        # A letter of another script sends the same text down the general way.
        assert words(text) == words(text + " é")[:-1]

    @given(SOME)
    def test_how_it_was_typed_makes_no_difference(self, text: str) -> None:
        assert (
            analyse(text)
            == analyse(unicodedata.normalize("NFD", text))
            == analyse(unicodedata.normalize("NFC", text))
        )

    def test_the_limit_is_in_bytes_and_leaves_no_half_word(self) -> None:
        assert analyse("alpha beta gamma", 10) == ["alpha"]
        assert analyse("alpha beta gamma", 11) == ["alpha", "beta"]
        assert analyse("alpha beta", 10) == ["alpha", "beta"]
        assert analyse("éé éé", 7) == ["éé"]
        assert analyse("alpha", 0) == []
        assert analyse("a\ud800 b", 100) == ["a", "b"]

    def test_long_words_are_cut_in_text_and_query_alike(self) -> None:
        word = "x" * 100
        assert finds(word, f"a {word} b")
        assert analyse(word) == ["x" * MAX_WORD]

    def test_stems_are_those_of_the_package(self) -> None:
        code = (
            "import snowballstemmer.english_stemmer as e; from thane.kernel.records.text import stem\n"
            "import re, sys; s = e.EnglishStemmer()\n"
            "found = set(re.findall('[a-z]+', open(re.__file__).read().lower()))\n"
            "assert len(found) > 100 and all(stem(w) == s.stemWord(w) for w in found)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    def test_it_does_not_load_36_languages(self) -> None:
        code = "import sys, thane.kernel.records.text; assert 'snowballstemmer' not in sys.modules"
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

    def test_only_words_of_ascii_letters_are_stemmed(self) -> None:
        assert [stem(w) for w in ("runnings", "éings", "123")] == ["run", "éings", "123"]


class TestGrammar:
    @pytest.mark.parametrize(
        ("text", "root"),
        [
            ("Running", Word("run")),
            ("a b", And((Word("a"), Word("b")))),
            ("a OR b", Or((Word("a"), Word("b")))),
            ("a OR b OR c d", And((Or((Word("a"), Word("b"), Word("c"))), Word("d")))),
            ("a -b", And((Word("a"), Not(Word("b"))))),
            ("-b a", And((Word("a"), Not(Word("b"))))),
            ('"read only"', Phrase(("read", "onli"))),
            ('-"read only" a', And((Word("a"), Not(Phrase(("read", "onli")))))),
            ('"one"', Word("one")),
            ('a"b c"', And((Word("a"), Phrase(("b", "c"))))),
            ("repo*", Prefix("repo")),
            ("running*", Prefix("run")),
            ("happy*", Or((Prefix("happy"), Prefix("happi")))),
            ("x OR happy*", Or((Word("x"), Prefix("happy"), Prefix("happi")))),
            ("snake_case", Phrase(("snake", "case"))),
            ("os.pa*", And((Word("os"), Prefix("pa")))),
            ("or and", And((Word("or"), Word("and")))),
            ("a == b *", And((Word("a"), Word("b")))),
            ("a OR == b", Or((Word("a"), Word("b")))),
            ("沙箱", Phrase(("沙", "箱"))),
            ('"OR"', Word("or")),
        ],
    )
    def test_trees(self, text: str, root: Node) -> None:
        assert parse_query(text) == TextQuery(root)

    @pytest.mark.parametrize(
        ("text", "code", "words_"),
        [
            ("", "empty", "no word"),
            (" == ", "empty", "no word"),
            ('""', "empty", "no word"),
            ("*", "empty", "no word"),
            ("-a", "only_negations", "add a word"),
            ("-a -b", "only_negations", "add a word"),
            ('"a b', "quote", "never closed"),
            ('a "', "quote", "position 3"),
            ("OR a", "or", "both sides"),
            ("a OR", "or", "both sides"),
            ("a OR OR b", "or", "both sides"),
            ("a OR ==", "or", "both sides"),
            ("a OR -b", "or", "one side of OR"),
            ('"a b"*', "prefix", "end of a word"),
            ("x" * (MAX_QUERY_CHARS + 1), "too_long", str(MAX_QUERY_CHARS)),
            ("a " * 65, "too_long", "64 words"),
        ],
    )
    def test_refusals(self, text: str, code: str, words_: str) -> None:
        with pytest.raises(Invalid) as caught:
            parse_query(text, "/q")
        (fault,) = caught.value.faults
        assert (fault.pointer, fault.code) == ("/q", code)
        assert words_ in fault.detail

    @given(SOME)
    def test_any_text_is_a_query_or_invalid(self, text: str) -> None:
        try:
            query = parse_query(text)
        except Invalid:
            return
        assert not matches_text(query, [])

    @given(SOME)
    def test_negations_stand_only_in_the_and_at_the_top(self, text: str) -> None:
        def check(node: Node, top: bool) -> None:
            match node:
                case And(parts) | Or(parts):
                    assert len(parts) >= 2
                    for part in parts:
                        if isinstance(part, Not):
                            assert top
                            assert isinstance(node, And)
                            check(part.part, False)
                        else:
                            check(part, False)
                case Phrase(sequence):
                    assert len(sequence) >= 2
                case Not(_):
                    pytest.fail("a negation alone")
                case Word(word) | Prefix(word):
                    assert word

        try:
            query = parse_query(text)
        except Invalid:
            return
        check(query.root, True)


class TestMeaning:
    CODE = "import csv\ndef read_report(path):\n    return list(csv.reader(open(path)))\n"

    @pytest.mark.parametrize(
        ("query", "found"),
        [
            ("csv report", True),
            ("csv missing", False),
            ("missing OR reports", True),
            ("missing OR absent", False),
            ("csv -missing", True),
            ("csv -report", False),
            ('"read report"', True),
            ('"report read"', False),
            ("read_report", True),
            ("report_read", False),
            ("rep*", True),
            ("reporting*", True),
            ("zz*", False),
            ('csv -"report read" OR', None),
        ],
    )
    def test_a_program(self, query: str, found: bool | None) -> None:
        if found is None:
            with pytest.raises(Invalid):
                finds(query, self.CODE)
        else:
            assert finds(query, self.CODE) is found

    def test_a_phrase_does_not_reach_across_fields(self) -> None:
        fields = [*analyse("read"), "", *analyse("report")]
        assert not matches_text(parse_query('"read report"'), fields)
        assert matches_text(parse_query("read report"), fields)

    @given(SOME)
    def test_every_word_finds_its_text_also_as_a_prefix(self, text: str) -> None:
        raw = words(text)
        assume(raw)
        for word in raw[:20]:
            assert finds(f'"{word}"', text)
            assert finds(f"{word}*", text)

    @given(SOME)
    def test_a_text_finds_itself_as_a_phrase(self, text: str) -> None:
        phrase = " ".join(words(text)[:30])
        assume(phrase)
        assert finds(f'"{phrase}"', text)
