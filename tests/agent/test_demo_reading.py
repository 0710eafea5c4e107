"""What the demo reads in results, and the repairs it dares."""

from __future__ import annotations

import pytest

from jupyter_agent.agent.demo.facts import find_failure, read_cells, read_frame, read_series, read_table, read_variables
from jupyter_agent.agent.demo.repair import Failure, Known, find_repair

WRAPPED = """               count         mean  \\
price per m2     4.0    25.000000   
rooms            5.0     3.000000   

               min   max  missing  
price per m2  10.0  40.0        1  
rooms          1.0   5.0        0  """  # noqa: W291 -- pandas ends its lines so


def test_a_wrapped_table_is_read_as_one() -> None:
    table = read_table(WRAPPED)
    assert table["price per m2"] == {"count": 4, "mean": 25, "min": 10, "max": 40, "missing": 1}
    assert table["rooms"]["mean"] == 3


def test_prose_is_no_table() -> None:
    assert read_table("Nothing here.\nNo table, 3 words more.") == {}


def test_a_printed_series_is_read() -> None:
    assert read_series("count     4.0\n50%      25.5\nName: price, dtype: float64") == {"count": 4, "50%": 25.5}


def test_cells_are_read_with_ids_hashes_and_outputs() -> None:
    text = (
        "a.ipynb: 2 cells, python, open in a JupyterLab tab, kernel idle.\n\n"
        f'<cell id="a1" type="markdown" hash="{"0" * 64}">\n# Title\n</cell>\n\n'
        f'<cell id="b2" type="code" hash="{"1" * 64}" execution_count="3">\nx = 1\n\ny\n</cell>\n'
        "<outputs>\nline\n\nmore\n</outputs>"
    )
    first, second = read_cells(text)
    assert (first.id, first.cell_type, first.source, first.outputs) == ("a1", "markdown", "# Title", "")
    assert (second.hash, second.source, second.outputs) == ("1" * 64, "x = 1\n\ny", "line\n\nmore")


def test_a_frame_is_read_from_what_inspection_shows() -> None:
    text = (
        "type: pandas.DataFrame\n344 rows × 4 columns\ncolumns:\n"
        "  'row_id'  int64\n  'weight'  float64\n  'kind'  str\n  0  int64\nfirst rows:\n  'row_id' | 'weight'\n"
    )
    frame = read_frame("df", text)
    assert (frame.rows, frame.width, list(frame.columns)) == (344, 4, ["row_id", "weight", "kind"])
    assert frame.numbers == ["weight", "row_id"]


def test_variables_are_read_line_by_line() -> None:
    df, n = read_variables("df: pandas.DataFrame = DataFrame 5 × 2: 'a', 'b'\nn: int = 3")
    assert df.is_frame
    assert (n.name, n.type, n.summary) == ("n", "int", "3")


def test_an_error_counts_only_with_its_traceback() -> None:
    assert find_failure("the log says\nValueError: just printed") is None
    trace = (
        "---------------------------------------------------------------------------\n"
        "NameError                                 Traceback (most recent call last)\n"
        "Cell In[3], line 2\n      1 x = 1\n----> 2 prnt(x)\n\nNameError: name 'prnt' is not defined"
    )
    assert find_failure(trace) == Failure(name="NameError", value="name 'prnt' is not defined", line="prnt(x)")


KNOWN = Known(variables=["sales", "df"], columns=["price", "city"])

REPAIRS: list[tuple[str, Failure, str | None]] = [
    ("print(slaes)", Failure(name="NameError", value="name 'slaes' is not defined"), "print(sales)"),
    ("x = plt.gca()", Failure(name="NameError", value="name 'plt' is not defined"),
     "import matplotlib.pyplot as plt\n\nx = plt.gca()"),
    ("prnt('slaes')", Failure(name="NameError", value="name 'prnt' is not defined"), "print('slaes')"),
    ("wholly(1)", Failure(name="NameError", value="name 'wholly' is not defined"), None),
    ("df['Price']", Failure(name="KeyError", value="'Price'"), "df['price']"),
    ("df.groupby('citty').price", Failure(name="KeyError", value="'citty'"), "df.groupby('city').price"),
    ("df['pricee']", Failure(name="KeyError", value="'Column not found: pricee'"), "df['price']"),
    ("df[['pricee']]", Failure(name="KeyError", value="\"None of [Index(['pricee'])] are in the [columns]\""),
     "df[['price']]"),
    ("df['height']", Failure(name="KeyError", value="'height'"), None),
    ("df.pirce.sum()", Failure(name="AttributeError", value="'DataFrame' object has no attribute 'pirce'"),
     "df.price.sum()"),
    ("df.descibe()", Failure(name="AttributeError", value="'DataFrame' object has no attribute 'descibe'"),
     "df.describe()"),
    ("print(max([1, 2])", Failure(name="SyntaxError", value="'(' was never closed (1234.py, line 1)"),
     "print(max([1, 2]))"),
    ("for x in [1]\n    print(x)", Failure(name="SyntaxError", value="expected ':' (1234.py, line 1)"),
     "for x in [1]:\n    print(x)"),
    ("n = 3\nprint('n = ' + n)",
     Failure(name="TypeError", value='can only concatenate str (not "int") to str', line="print('n = ' + n)"),
     "n = 3\nprint('n = ' + str(n))"),
    ("1 / 0", Failure(name="ZeroDivisionError", value="division by zero"), None),
    ("import torhc", Failure(name="ModuleNotFoundError", value="No module named 'torhc'"), None),
]  # fmt: skip


@pytest.mark.parametrize(("source", "failure", "repaired"), REPAIRS)
def test_repairs(source: str, failure: Failure, repaired: str | None) -> None:
    repair = find_repair(source, failure, KNOWN)
    assert (repair.source if repair else None) == repaired
