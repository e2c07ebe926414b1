package content

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// seen is a character that folding keeps, for the naive matcher.
type seenChar struct {
	code       uint16
	start, end int
	alnum      bool
	changed    bool
	before     []entry // what was between it and the one before
}

// naive folds a text the slow way: one character after the other, then digits into runs.
func naive(b *base, s string) []seenChar {
	var out []seenChar
	var between []entry
	for i := 0; i < len(s); {
		e, size := b.at(&b.bmp, s, i)
		start, end := i, i+size
		i = end
		if !isKept(e) {
			if codeOf(e) == '\\' && i < len(s) {
				if f, more := b.at(&b.bmp, s, i); codeOf(f) == '/' {
					i += more
					out = append(out, seenChar{'v', start, i, true, true, between})
					between = nil
					continue
				}
			}
			between = append(between, e)
			continue
		}
		if n := len(out) - 1; classOf(e) == figure && n >= 0 && out[n].code == digit && joinsDigits(between) {
			out[n].end, between = end, nil
			continue
		}
		out = append(out, seenChar{codeOf(e), start, end, isAlnum(e), e&changed != 0, between})
		between = nil
	}
	return out
}

func joinsDigits(between []entry) bool {
	n := 0
	for _, e := range between {
		switch c := classOf(e); {
		case c == deleted:
		case c == space, c == odd, c == sentence && codeOf(e) == ',' && n == 0:
			n++
		default:
			return false
		}
	}
	return n <= maxGap
}

// gapOf reads what stands between two characters: whether they may be of one word, and how.
func gapOf(between []entry) (hidden, separated, odd2, clause, far bool) {
	n, breaks, clauses := 0, 0, 0
	for _, e := range between {
		switch c := classOf(e); {
		case c == deleted:
			hidden = true
		case c == space && codeOf(e) == '\r':
		case c == newline:
			breaks++
			n++
		case c == sentence:
			clauses++
			n++
		case c == odd:
			odd2 = true
			n++
		default:
			n++
		}
	}
	return hidden, n > 0, odd2, clauses > 0, n > maxGap || clauses > 1 || breaks > 0 && n > 1
}

type found struct {
	term       int32
	start, end int
	via        Via
}

// search tries every term at every character.
func search(j *Judge, s string) []found {
	var out []found
	chars := naive(j.base, s)
	for id := range j.terms {
		t := &j.terms[id]
		if len(t.codes) == 0 || slices.Contains(t.codes, wild) {
			continue
		}
		for at := range chars {
			if at+len(t.codes) > len(chars) {
				break
			}
			ok, via := true, ViaPlain
			anySeparated, allSeparated, anyClause := false, true, false
			for k, code := range t.codes {
				c := chars[at+k]
				if ok = c.code == code; !ok {
					break
				}
				if c.changed {
					via = max(via, ViaFold)
				}
				if k == 0 {
					continue
				}
				hidden, separated, odd2, clause, far := gapOf(c.before)
				if ok = !far; !ok {
					break
				}
				single := 0
				for _, e := range c.before {
					if codeOf(e) != '\r' {
						single++
					}
				}
				if separated && !odd2 && !clause && !hidden && single == 1 && c.alnum != chars[at+k-1].alnum {
					separated = false
				}
				if hidden {
					via = max(via, ViaHidden)
				}
				if separated {
					via = max(via, ViaGap)
					anySeparated = true
				} else {
					allSeparated = false
				}
				anyClause = anyClause || clause
			}
			if !ok || anyClause && (len(t.codes) < 3 || !allSeparated) || anySeparated && t.flags&flagExact != 0 {
				continue
			}
			first, last := chars[at], chars[at+len(t.codes)-1]
			if t.flags&flagOpen == 0 && (isLatinCode(first.code) && touchesLeft(j, s, first.start) || isLatinCode(last.code) && touchesRight(j, s, last.end)) {
				continue
			}
			out = append(out, found{int32(id), first.start, last.end, via})
		}
	}
	return out
}

func touchesLeft(j *Judge, s string, i int) bool {
	r, size := utf8.DecodeLastRuneInString(s[:i])
	return size > 0 && isAlnum(j.of(&j.bmp, r, size))
}

func touchesRight(j *Judge, s string, i int) bool {
	r, size := utf8.DecodeRuneInString(s[i:])
	return size > 0 && isAlnum(j.of(&j.bmp, r, size))
}

const fuzzLexicon = `@lexicon fuzz 1
@rule 4
博彩 10
博彩平台 10
彩票 6
彩 1
好评返现 10
@rule 2
QQ群 8
v信 4
vx 4
vxo 4 o
第#期 3
#元 2
元#元 2
#% 2
abab 2
平 -3 x
平台 3 x
`

// FuzzScan holds the scanner against the naive matcher, and checks that every span is where it says.
func FuzzScan(f *testing.F) {
	lexicon, err := Parse("fuzz.txt", []byte(fuzzLexicon))
	if err != nil {
		f.Fatal(err)
	}
	j := judgeOf(f, lexicon)
	for _, s := range []string{
		"博彩平台", "博 彩", "賭博\u200b採票", "好，评，返，现", "好评，返现", "ＱＱ 群", "加\\/信", "第 12,3 期", "元1 2元", "1-2-3元", "5%", "vx1", "a vxo9", "ababab", "平-台",
		"\xff博\xe5彩", "博\r\n彩", "博 \n彩", "𝐐🆀❤群", "12，3元", "1，，2元", "é\u0301", "博\\彩/", "1\\/2元", "1😀2元", "\xe0\x80\xaf", "vx\u200bo", "v\u200bx", "٣%",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1<<12 {
			return
		}
		raws := j.scan(s, nil)
		var got []found
		for _, r := range raws {
			if r.via > ViaGap { // insert: the naive matcher knows only plain writing
				continue
			}
			got = append(got, found{r.term, int(r.start), int(r.end), r.via})
		}
		want := search(j, s)
		order := func(a, b found) int {
			return strings.Compare(j.Term(a.term), j.Term(b.term))*4 + 2*(a.start-b.start) + (a.end - b.end)
		}
		slices.SortStableFunc(got, order)
		slices.SortStableFunc(want, order)
		got, want = slices.Compact(got), slices.Compact(want)
		if len(got) >= maxRaw {
			return
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q:\n got %v\nwant %v", s, got, want)
		}
		for _, h := range got {
			var codes []uint16
			for _, c := range naive(j.base, s[h.start:h.end]) {
				codes = append(codes, c.code)
			}
			if !slices.Equal(codes, j.terms[h.term].codes) {
				t.Fatalf("%q: %q folds to %v, the term %q is %v", s, s[h.start:h.end], codes, j.Term(h.term), j.terms[h.term].codes)
			}
		}
	})
}

// FuzzJudge: no bytes break the judge, in any channel, and what it reports is inside the text.
func FuzzJudge(f *testing.F) {
	j := judgeOf(f, testFile(f))
	wary := *j // takes every pair to begin something
	for i := range wary.kindBits {
		wary.kindBits[i] = 1<<64 - 1
	}
	for _, s := range []string{
		"博彩bocai勃采", "mai yi song yi", "l38ooool234", "一三八〇〇〇〇一二三四", "加我微信abc88990 www.a.com", "买h一e送g一", "１380零零⓪壹2３④", "http://", "a.com@b.cn",
		"\xff\xfe", "12,300.00", "包装红包装", strings.Repeat("maiyi", 100), strings.Repeat("1 ", 100), "加......微信", "代代贝款",
		"\U0002f8ae⾐寿⾐\U0002f85f⾐平太平台",
	} {
		f.Add(s, "invoice")
	}
	f.Fuzz(func(t *testing.T, s, class string) {
		if got, want := j.scan(s, nil), wary.scan(s, nil); !slices.Equal(got, want) {
			t.Fatalf("%q:\n got %v\nwant %v", s, got, want)
		}
		_, hits := j.Judge(nil, s, Class(class))
		for _, h := range append(hits, j.All(nil, s)...) {
			if h.Start < 0 || h.End > len(s) || h.Start >= h.End {
				t.Fatalf("%q: span %d-%d", s, h.Start, h.End)
			}
			if utf8.ValidString(s) && string([]rune(s)[h.RuneStart:h.RuneEnd]) != s[h.Start:h.End] {
				t.Fatalf("%q: characters %d-%d are not bytes %d-%d", s, h.RuneStart, h.RuneEnd, h.Start, h.End)
			}
		}
		masked(s)
	})
}

// FuzzParse: a lexicon file is refused with a place, or makes a judge.
func FuzzParse(f *testing.F) {
	f.Add([]byte(fuzzLexicon))
	f.Add([]byte("@lexicon a 1\n@alias\n微信 = vx 威信\n@rule 2\n加.微信 3 h\n@split\n微 = 彳\n@allow\n微信公\n@not\n微\n"))
	f.Add([]byte("@lexicon a 1\n@rule *\n<mobile> 2\n<url> 2\n贷款 -20 hpxo\n"))
	f.Add([]byte("@lexicon a 1\n@alias\na = a aa\naa = a\n@rule 1\naaaaaaaa 3 h\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<12 {
			return
		}
		lexicon, err := Parse("f.txt", b)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.txt:") {
				t.Fatalf("error without a place: %v", err)
			}
			return
		}
		j, err := Compile(lexicon)
		if err != nil {
			t.Fatal(err)
		}
		j.All(nil, string(b))
	})
}

// FuzzHTML: what is seen of HTML lies inside it.
func FuzzHTML(f *testing.F) {
	for _, s := range []string{
		"<p>贷<b>款</b>&nbsp;&#x8d37;</p>", "<script>x</script>y", "<!-- a -->b", "a < b &amp; c", "<", "&", "</", "<style>", "&#0;",
		"<p title=\"><!--\">a", "<!--[if mso]><p alt='&amp'>b<![endif]-->", "<img alt=a value = >", "<input type=hidden value='a", "&#24494&nbspb", "<noscript><b>", "<a =\"",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v := see(s)
		for i := range v.text {
			if from, to := v.span(i, i+1); from < 0 || to > len(s) || from > to {
				t.Fatalf("%q: %q[%d] is at %d-%d", s, v.text, i, from, to)
			}
		}
	})
}
