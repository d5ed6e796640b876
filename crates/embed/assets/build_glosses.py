#!/usr/bin/env python3
"""Makes wordnet-glosses.tsv.gz from the WordNet 3.0 database files of the Debian package wordnet-base.

Repeat it with:

    apt-get download wordnet-base          # 1:3.0-37
    dpkg-deb -x wordnet-base_*.deb package
    python3 build_glosses.py package/usr/share/wordnet wordnet-glosses.tsv.gz

Standard library only. The output is a pure function of the four data files. It is one gzip member of UTF-8
lines; the first is "#dvse-wordnet<TAB>1<TAB>117659" (format, version, records), each other one a meaning:

    synset <TAB> part of speech <TAB> lexicographer file <TAB> words <TAB> definition [<TAB> example]...

    synset              letter of the data file (n v a r) and the 8-digit offset in it, e.g. n02951358
    part of speech      n v a s r, where s is an adjective satellite
    lexicographer file  e.g. noun.artifact
    words               separated by "|", blanks for underscores, without the markers (a) (p) (ip)

A gloss is "definition; "example"; "example"". The definition ends at the first quotation mark that follows ; : or , and
the quoted stretches after it are the examples. What stands between quotations (711 of 117 659 glosses: mostly the author
quoted) is left out. A handful of glosses have an unbalanced quotation mark; they are taken as they stand.
"""

import gzip
import io
import pathlib
import re
import sys

RECORDS = 117_659
LEX_FILES = """adj.all adj.pert adv.all noun.Tops noun.act noun.animal noun.artifact noun.attribute noun.body noun.cognition
noun.communication noun.event noun.feeling noun.food noun.group noun.location noun.motive noun.object noun.person noun.phenomenon
noun.plant noun.possession noun.process noun.quantity noun.relation noun.shape noun.state noun.substance noun.time verb.body
verb.change verb.cognition verb.communication verb.competition verb.consumption verb.contact verb.creation verb.emotion verb.motion
verb.perception verb.possession verb.social verb.stative verb.weather adj.ppl""".split()


def split_gloss(gloss):
    for mark in re.finditer('"', gloss):
        head = gloss[: mark.start()].rstrip()
        if head and head[-1] in ";:,":
            parts = (part.strip(" ;,:") for part in gloss[mark.start():].split('"')[1::2])
            return head.rstrip(" ;:,"), [part for part in parts if part]
    return gloss.rstrip(" ;"), []


def records(folder):
    for letter, name in (("n", "noun"), ("v", "verb"), ("a", "adj"), ("r", "adv")):
        for line in (folder / f"data.{name}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):
                continue  # the licence at the head of each file
            head, gloss = line.split(" | ", 1)
            offset, lex_file, part, count, *rest = head.split(" ")
            words = [re.sub(r"\((a|p|ip)\)$", "", word).replace("_", " ") for word in rest[: 2 * int(count, 16) : 2]]
            definition, examples = split_gloss(gloss.strip())
            yield [letter + offset, part, LEX_FILES[int(lex_file)], "|".join(words), definition, *examples]


def main():
    source, target = map(pathlib.Path, sys.argv[1:])
    text = io.StringIO()
    text.write(f"#dvse-wordnet\t1\t{RECORDS}\n")
    found = 0
    for fields in records(source):
        assert all(fields[:5]) and not any("\t" in field or "\n" in field for field in fields), fields
        text.write("\t".join(fields) + "\n")
        found += 1
    assert found == RECORDS, f"expected {RECORDS} meanings, found {found}"
    target.write_bytes(gzip.compress(text.getvalue().encode(), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
