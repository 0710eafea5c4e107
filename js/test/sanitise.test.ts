// @vitest-environment jsdom
import { describe, expect, test } from "vitest";
import { highlight, highlightLines } from "../src/panel/highlight";
import { markdownHtml } from "../src/panel/markdown";
import { sanitise } from "../src/panel/sanitise";

const HOSTILE = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<img src='https://evil.example/p.png'>",
  "<img srcset='https://evil.example/p.png 1x'>",
  "<picture><source srcset='https://evil.example/p.png'><img></picture>",
  "<svg onload=alert(1)><image href='https://evil.example/p.png'/></svg>",
  "<math><mtext><style><img src='https://evil.example'></style></mtext></math>",
  "<iframe src='https://evil.example'></iframe>",
  "<object data='https://evil.example'></object>",
  "<embed src='https://evil.example'>",
  "<link rel=stylesheet href='https://evil.example/a.css'>",
  "<style>@import url(https://evil.example/a.css)</style>",
  "<div style='background:url(https://evil.example/p.png)'>x</div>",
  "<table background='https://evil.example/p.png'><tr><td>x</td></tr></table>",
  "<video poster='https://evil.example/p.png' src='https://evil.example/v'></video>",
  "<audio autoplay src='https://evil.example/a'></audio>",
  "<form action='https://evil.example'><input name=a><button>Send</button></form>",
  "<base href='https://evil.example/'>",
  "<meta http-equiv=refresh content='0;url=https://evil.example'>",
  "<a href='javascript:alert(1)'>x</a>",
  "<a href='data:text/html,<script>alert(1)</script>'>x</a>",
  "<a href=' \u0001javascript:alert(1)'>x</a>",
  "[x](javascript:alert(1))",
  "![x](https://evil.example/p.png)",
  "![x](//evil.example/p.png)",
  "![x](/files/secret.png)",
  "![x](data:text/html;base64,PHNjcmlwdD4=)",
  "<p id=jp-main class='jp-Dialog'>x</p>",
  "<template><img src='https://evil.example'></template>",
  '<noscript><p title="</noscript><img src=x onerror=alert(1)>"></noscript>',
  "<input type=image src='https://evil.example/p.png'>",
  "<body background='https://evil.example/p.png'>",
  "<q cite='https://evil.example'>x</q>",
  "<a href='https://ok.example' ping='https://evil.example'>x</a>",
];

const FETCHES = ["src", "srcset", "style", "background", "poster", "data", "action", "ping", "cite", "id", "name"];

describe("hostile text", () => {
  test.each(HOSTILE)("neither acts nor fetches: %s", (text) => {
    const page = document.createElement("div");
    page.innerHTML = markdownHtml(text);
    expect(
      page.querySelector(
        "script,style,iframe,object,embed,form,input,button,svg,math,link,meta,base,img,video,audio,source,template",
      ),
    ).toBeNull();
    for (const element of page.querySelectorAll("*")) {
      for (const { name, value } of element.attributes) {
        expect(name.startsWith("on")).toBe(false);
        expect(FETCHES).not.toContain(name);
        expect(value).not.toMatch(/^\s*javascript:/i);
      }
    }
  });

  test("a tool's code can't become HTML by its colours", () => {
    const page = document.createElement("pre");
    page.innerHTML = highlight("x = '<img src=x onerror=alert(1)>' # </span><script>", "python");
    expect(page.querySelector("img,script")).toBeNull();
    expect(page.textContent).toBe("x = '<img src=x onerror=alert(1)>' # </span><script>");
  });
});

describe("what may be shown", () => {
  test("an image whose bytes are in the text", () => {
    expect(sanitise('<img src="data:image/png;base64,AAAA" alt="plot">')).toBe(
      '<img src="data:image/png;base64,AAAA" alt="plot">',
    );
  });

  test("an image elsewhere is named, with its host, and not loaded", () => {
    expect(markdownHtml("![chart](https://evil.example/p.png)")).toContain("[chart · evil.example · not loaded]");
  });

  test("a link says which host it leads to and tells that host nothing", () => {
    const page = document.createElement("div");
    page.innerHTML = markdownHtml("[your bank](https://evil.example/login)");
    const link = page.querySelector("a");
    expect(link?.textContent).toBe("your bank (evil.example)");
    expect([link?.rel, link?.target]).toEqual(["noopener noreferrer", "_blank"]);
  });

  test("a link that pretends to be another address shows where it really leads", () => {
    const page = document.createElement("div");
    page.innerHTML = markdownHtml("[https://good.example](https://evil.example)");
    expect(page.textContent).toContain("(evil.example)");
  });

  test("a table keeps its columns' alignment, a list its first number", () => {
    expect(markdownHtml("|a|\n|--:|\n|1|")).toContain('<td align="right">');
    expect(markdownHtml("3. c")).toContain('<ol start="3">');
  });

  test("a relative link leads nowhere", () => {
    expect(markdownHtml("[x](../api/shutdown)")).not.toContain("href");
  });

  test("code keeps its colours and no other classes", () => {
    const html = markdownHtml('```python\ndef f(): pass\n```\n\n<span class="jp-Dialog hljs-keyword">x</span>');
    expect(html).toContain("hljs-keyword");
    expect(html).not.toContain("jp-Dialog");
  });
});

test("each coloured line is whole by itself", () => {
  const lines = highlightLines('"""a\nb"""\nx = 1', "python");
  expect(lines).toHaveLength(3);
  for (const line of lines) {
    expect(line.split("<span").length).toBe(line.split("</span>").length);
  }
});
