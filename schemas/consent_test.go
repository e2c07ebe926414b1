package schemas

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

var recorded = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// readCSV reads all lines; bad ones are "line keyword pointer".
func readCSV(t *testing.T, text string) (good []*ConsentChange, bad []string) {
	t.Helper()
	in, err := NewConsentCSV(strings.NewReader(text))
	if err != nil {
		return nil, []string{err.Error()}
	}
	for {
		c, err := in.Next()
		if errors.Is(err, io.EOF) {
			return good, bad
		}
		if invalid, ok := errors.AsType[*Invalid](err); ok {
			for _, p := range invalid.Problems {
				bad = append(bad, strings.TrimSpace(strings.Repeat("|", in.Line())+" "+p.Keyword+" "+p.Pointer))
			}
			continue
		}
		if err != nil {
			return good, append(bad, err.Error())
		}
		if ps := c.Check(recorded); ps != nil {
			bad = append(bad, strings.Repeat("|", in.Line())+" "+ps[0].Keyword+" "+ps[0].Pointer)
			continue
		}
		good = append(good, c)
	}
}

func TestConsentTimesOfSpreadsheets(t *testing.T) {
	morning := time.Date(2026, 3, 1, 1, 30, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"2026-03-01T09:30:00+08:00": morning, "2026-03-01T01:30:00Z": morning, "2026-03-01 09:30": morning, "2026-03-01 09:30:00": morning,
		"2026/3/1 9:30": morning, "2026/03/01 9:30:00": morning, "2026/3/1": morning.Add(-9*time.Hour - 30*time.Minute), "2026-3-1": morning.Add(-9*time.Hour - 30*time.Minute),
	} {
		good, bad := readCSV(t, "phone,state,text,time\n13800138000,in,x,"+s+"\n")
		if len(good) != 1 || !good[0].Time.Equal(want) {
			t.Errorf("%s: %v, %v", s, good, bad)
		}
	}
	for _, s := range []string{"3/1/2026", "2026-13-01", "01.03.2026", "昨天", "46082", "2026-03-01 25:00"} {
		if _, bad := readCSV(t, "phone,state,text,time\n13800138000,in,x,"+s+"\n"); len(bad) != 1 || bad[0] != "|| format /time" {
			t.Errorf("%s: %v", s, bad)
		}
	}
}

// A bad line costs no other, and is named by its number in the file.
func TestConsentCSVGoesOnAfterABadLine(t *testing.T) {
	good, bad := readCSV(t, "\ufeffPhone, State ,text,time\n"+
		"13800138000,IN,\"第一行\n第二行\",2026-03-01\n"+ // lines 2 and 3
		"13800138001,out\n"+
		"13800138002,out,\xcd\xcb,\n"+
		"13800138003,out,\"a\"b\",\n"+
		"\n"+
		"13800138004,out,,\n")
	if len(good) != 2 || good[0].Text != "第一行\n第二行" || good[1].Phone != "+8613800138004" {
		t.Errorf("%+v", good)
	}
	if got := strings.Join(bad, "; "); got != "|||| columns; ||||| csv; |||||| csv" {
		t.Errorf("bad lines %s", got)
	}
	for _, head := range []string{"", "phone\n", "state\n", "phone,state,phone\n", "电话,state\n", strings.Repeat("x", maxConsentLine+1)} {
		if _, err := NewConsentCSV(strings.NewReader(head)); err == nil {
			t.Errorf("%.20q was taken for a head", head)
		}
	}
	if _, bad := readCSV(t, "phone,state\n\""+strings.Repeat("x", 2*maxConsentLine)); len(bad) != 1 || bad[0] != errConsentLine.Error() {
		t.Errorf("a quote without an end: %v", bad)
	}
}

// What is exported is imported again with the same meaning, and no cell is a formula.
func TestConsentCSVRoundTrip(t *testing.T) {
	c := &Consent{Tenant: "acme", Phone: "+85261234567", States: map[Category]ConsentEntry{
		Marketing:    {ConsentWord: ConsentWord{OptedOut, PurposeAll, recorded, ByReply, `=HYPERLINK("http://x")`}, By: "erp", Recorded: recorded},
		Notification: {ConsentWord: ConsentWord{OptedIn, Purpose(Notification), recorded, ByForm, "'引号,\n换行"}, By: "erp", Recorded: recorded},
	}}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(ConsentCSVHead())
	_ = w.WriteAll(c.CSV())
	for _, row := range c.CSV() {
		for _, v := range row {
			if v != "" && strings.ContainsRune(formulas, rune(v[0])) {
				t.Errorf("a spreadsheet would run %q", v)
			}
		}
	}
	good, bad := readCSV(t, b.String())
	if len(good) != 2 || bad != nil {
		t.Fatalf("%v, %v", good, bad)
	}
	for i, category := range []Category{Marketing, Notification} {
		e := c.States[category]
		if g := good[i]; g.Phone != c.Phone || g.State != e.State || g.Purpose != Purpose(category) || !g.Time.Equal(e.Time) || g.Text != e.Text || g.How != e.How {
			t.Errorf("%+v, want %+v", g, e)
		}
	}
	if rows := (&Consent{Tenant: "acme", Erased: recorded, States: c.States}).CSV(); rows != nil {
		t.Errorf("an erased record was exported: %v", rows)
	}
}

func FuzzConsentCSV(f *testing.F) {
	f.Add("tenant,phone,email,state,purpose,time,how,text\nacme,13800138000,,in,marketing,2026/3/1 9:30,form,会员章程\n")
	f.Add("phone,state\n\"138\n\"\"0\",out\n")
	f.Fuzz(func(t *testing.T, text string) {
		good, bad := readCSV(t, text)
		if len(good)+len(bad) > strings.Count(text, "\n")+strings.Count(text, "\r")+2 {
			t.Errorf("%d good and %d bad lines of %q", len(good), len(bad), text)
		}
		for _, c := range good {
			if again := *c; again.Check(recorded) != nil || again != *c {
				t.Errorf("Check is not stable: %+v", c)
			}
		}
	})
}

func FuzzDecodeConsent(f *testing.F) {
	f.Add([]byte(`{"tenant":"acme","phone":"13800138000","state":"in","purpose":"all","time":"2026-03-01T09:30:00+08:00","how":"form","text":"x"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := DecodeConsent(b)
		if invalid, ok := errors.AsType[*Invalid](err); err != nil && (!ok || len(invalid.Problems) == 0) {
			t.Errorf("%q: %v", b, err)
		}
		if err == nil {
			c.Check(recorded)
		}
	})
}
