"""Compares our jq with libjq, and runs jq's own tests.

    jq_language.py RUNNER TESTS

RUNNER is the example `jq` of the crate `hub`; TESTS the folder `tests` of jq's source. Needs PyPI's `jq`, which is libjq.
"""

import json
import pathlib
import subprocess
import sys

import jq

HERE = pathlib.Path(__file__).parent
# Of the everyday list: how much must be the same. Nothing may differ without an error.
EVERYDAY_SAME = 0.95
# Of jq's own tests: how much must pass. Every other one is named below.
SUITE_PASSED = 0.88

# What differs, by the beginning of the program, and why.
MODULES = "a step is one program"
DEPTH = "values are nested 512 levels at most, paths as well; jq has 10,000"
EXCEPTIONS = {
    "import ": MODULES,
    "include ": MODULES,
    "modulemeta": MODULES,
    "try input catch": "a step sees one message",
    "$ENV": "a program sees no environment",
    "env": "a program sees no environment",
    "input_line_number": "a step sees one message",
    "try _strindices(": "a helper of jq's own library",
    "try (. * 1000000000) catch": "ends the run: the text would be too large",
    ".[] | try (fromjson | isnan) catch": "another text of the error",
    "try fromjson catch": "another text of the error",
    'gsub("(?=u)"': "look-around",
    "reduce range(9999) as $_ ([];[.])": DEPTH,
    "reduce range(10000) as $_": DEPTH,
    "reduce range(10001) as $_": DEPTH,
    "try (reduce range(10001) as $_": DEPTH,
    "try ((reduce range(10001) as $_": DEPTH,
    "setpath([range(10000)": DEPTH,
    "getpath([range(10000)": DEPTH,
    "delpaths([[range(10000)": DEPTH,
}


def excepted(program):
    return next((why for start, why in EXCEPTIONS.items() if program.startswith(start)), None)


def ours(runner, cases):
    """What came of each (program, input)."""
    lines = "".join(json.dumps([program, body]) + "\n" for program, body in cases)
    done = subprocess.run([runner], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.split("\n") if line]


def theirs(program, body):
    """The results of libjq as the text that jq itself writes, and its error."""
    try:
        compiled = jq.compile(f"({program}\n) | tojson")
    except ValueError as error:
        return None, str(error)
    results = []
    try:
        for result in compiled.input_text(body):
            results.append(result)
    except ValueError as error:
        return results, str(error)
    return results, None


def everyday(runner):
    cases, body = [], "null"
    for line in (HERE / "jq-everyday.txt").read_text("utf-8").splitlines():
        if line.startswith("< "):
            body = line[2:]
        elif line and not line.startswith("#"):
            cases.append((line, body))
    same, silent, judged = 0, 0, 0
    for (program, body), answer in zip(cases, ours(runner, cases), strict=True):
        results, error = theirs(program, body)
        if results is None:
            # jq does not take it: then nothing can be different.
            continue
        judged += 1
        if answer.get("results") == results and bool(answer.get("error")) == bool(error):
            same += 1
            continue
        quiet = "refused" not in answer and not answer["error"]
        silent += quiet
        print(f"{'SILENT' if quiet else 'differs'}: {program}\n  jq   {results} {error or ''}\n  ours {answer}")
    print(f"everyday: {judged} programs, {same} the same ({same / judged:.1%}), {silent} silently different")
    return judged >= 300 and same / judged >= EVERYDAY_SAME and silent == 0


def suite(folder):
    """jq's tests: a program, its input, its results; or a program that must be refused."""
    for file in sorted(folder.glob("*.test")):
        lines = iter(file.read_text("utf-8", "replace").split("\n"))
        for line in lines:
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith("%%FAIL"):
                yield file.name, next(lines), None, None
                for line in lines:
                    if not line.strip():
                        break
                continue
            body, results = next(lines), []
            for result in lines:
                if not result.strip() or result.startswith("#"):
                    break
                results.append(result)
            yield file.name, line, body, results


def equal(left, right):
    """Whether two JSON texts are one value to jq."""
    try:
        return jq.compile(".[0] == .[1]").input_text(f"[{left},{right}]").first()
    except ValueError:
        return left == right


def own_tests(runner, folder):
    cases = list(suite(folder))
    answers = ours(runner, [(program, body or "null") for _, program, body, _ in cases])
    passed, unnamed = 0, 0
    for (file, program, body, results), answer in zip(cases, answers, strict=True):
        if body is None:
            good = "refused" in answer
        else:
            have = answer.get("results", [])
            good = len(have) == len(results) and all(map(equal, have, results))
        passed += good
        if good:
            continue
        why = excepted(program)
        unnamed += why is None
        print(f"{'UNNAMED' if why is None else 'named'}: {file}: {program}\n  {why or answer}")
    print(f"jq's own tests: {passed} of {len(cases)} ({passed / len(cases):.1%}), {unnamed} not named")
    return passed / len(cases) >= SUITE_PASSED and unnamed == 0


if __name__ == "__main__":
    runner, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    # Finding: I2, I3, I18, I20
    results = [everyday(runner), own_tests(runner, folder)]
    sys.exit(0 if all(results) else 1)
