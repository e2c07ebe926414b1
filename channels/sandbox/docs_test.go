package sandbox

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// manuals are the two pages that tell people what the stand-ins do.
var manuals = map[string]string{"en": "../../docs/sandbox.md", "zh": "../../docs/sandbox.zh-CN.md"}

// fullWidth is how Chinese prose sets its punctuation.
var fullWidth = strings.NewReplacer(",", "，", ";", "；", "(", "（", ")", "）")

// cells are the table rows of a page, by their first cell without back quotes.
func cells(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if first, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "| "), " |"); ok && strings.HasPrefix(first, "`") {
			rows[strings.Trim(first, "`")] = rest
		}
	}
	return rows
}

// behaviours reads from the source what the code asks for: the words that wants and anyWants look
// for, the paths that the receiver of webhooks tells apart, the patterns of the inbox's mux.
func behaviours(t *testing.T) (words, paths, patterns []string) {
	t.Helper()
	for _, file := range []string{"smtp.go", "webhook.go", "page.go"} {
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				name := ""
				switch f := n.Fun.(type) {
				case *ast.Ident:
					name = f.Name
				case *ast.SelectorExpr:
					name = f.Sel.Name
				}
				switch s := literals(n.Args); {
				case file == "smtp.go" && (name == "wants" || name == "anyWants"):
					words = append(words, s...)
				case file == "page.go" && name == "HandleFunc":
					patterns = append(patterns, s...)
				}
			case *ast.CaseClause:
				if file == "webhook.go" {
					paths = append(paths, literals(n.List)...)
				}
			}
			return true
		})
	}
	return words, paths, patterns
}

func literals(list []ast.Expr) (out []string) {
	for _, e := range list {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if s, err := strconv.Unquote(lit.Value); err == nil {
				out = append(out, s)
			}
		}
	}
	return out
}

// What can be had from the sandbox stands in both manuals, and nothing else does.
func TestManualsTellWhatTheSandboxDoes(t *testing.T) {
	words, paths, patterns := behaviours(t)
	if len(words) == 0 || len(paths) == 0 || len(patterns) == 0 {
		t.Fatalf("found %d words, %d paths, %d patterns in the source", len(words), len(paths), len(patterns))
	}
	number := regexp.MustCompile(`^199\d{8}$`)
	for lang, file := range manuals {
		rows := cells(t, file)
		known := map[string]bool{}
		for _, c := range Simulated() {
			known[c.Number] = true
			if row := rows[c.Number]; !strings.Contains(row, "`"+c.Code+"`") || !strings.Contains(row, fullWidth.Replace(c.What.In(lang))) && !strings.Contains(row, c.What.In(lang)) {
				t.Errorf("%s: no row for number %s with %s and %q; it has %q", file, c.Number, c.Code, c.What.In(lang), row)
			}
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range Simulated() {
			if row := "| `" + c.Number + "` | `" + c.Tencent + "` | `" + c.Huawei + "` |"; c.Tencent != "" && !strings.Contains(string(text), row) {
				t.Errorf("%s: no row with %s", file, row)
			}
		}
		for _, c := range append(slices.Clone(simulatedMail), simulatedHooks...) {
			if !slices.Contains(words, c.Number) && !slices.Contains(paths, strings.TrimPrefix(c.Number, "/hook/")) {
				t.Errorf("the page lists %s, which nothing does", c.Number)
			}
		}
		if len(simulatedMail) != len(words) || len(simulatedHooks) != len(paths) {
			t.Errorf("the page lists %d addresses and %d paths, the code knows %q and %q", len(simulatedMail), len(simulatedHooks), words, paths)
		}
		for _, w := range words {
			if rows[w] == "" {
				t.Errorf("%s: no row for a mail address with %q", file, w)
			}
		}
		for _, p := range paths {
			if rows["/hook/"+p] == "" {
				t.Errorf("%s: no row for /hook/%s", file, p)
			}
		}
		for _, p := range patterns {
			if path := strings.TrimSuffix(p, "{$}"); rows[path] == "" {
				t.Errorf("%s: no row for %s", file, path)
			}
		}
		for first := range rows {
			if path, ok := strings.CutPrefix(first, "/hook/"); ok && !slices.Contains(paths, path) || number.MatchString(first) && !known[first] {
				t.Errorf("%s: the sandbox knows no %s", file, first)
			}
		}
	}
}
