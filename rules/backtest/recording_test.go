package backtest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/yizhan-dev/yizhan/schemas"
)

var (
	recordTo = flag.String("record", "", "write a generated recording to this file (see docs/backtest.md)")
	recordN  = flag.Int("events", 1_000_000, "events in the recording")
)

// recordingWeek is what the recording spans.
var recordingWeek = time.Date(2026, 11, 16, 0, 0, 0, 0, time.FixedZone("CST", 8*3600))

// writeRecording writes n events of a made-up company's week as NDJSON, always the same for the same n: login
// codes, invoices, approvals, promotion, and stock alerts to a few numbers that get dozens a day. There is a
// person for every 25 events, and one in 25 of them has no mail address; now and then a producer repeats an
// event or writes a bracket, and one promotion in ten has words of its own.
func writeRecording(w io.Writer, n int) error {
	const week = 7 * 24 * time.Hour
	r := rand.New(rand.NewPCG(20261116, 50)) // the same recording each time
	people, keepers := max(n/25, 10), max(n/5000, 2)
	phone := func(i int) string { return fmt.Sprintf("139%08d", 10_000_000+i*7%90_000_000) }
	out := bufio.NewWriterSize(w, 1<<20)
	last := ""
	for i := range n {
		at := recordingWeek.Add(time.Duration(float64(week) * float64(i) / float64(n))).Truncate(time.Millisecond)
		if last != "" && r.IntN(2000) == 0 {
			if _, err := out.WriteString(last); err != nil { // a producer's retry
				return err
			}
			continue
		}
		who := r.IntN(people)
		to := fmt.Sprintf(`{"name":"客户%d","phone":"%s","email":"c%d@example.com"}`, who, phone(who), who)
		if who%25 == 0 {
			to = fmt.Sprintf(`{"name":"客户%d","phone":"%s"}`, who, phone(who))
		}
		var typ, data string
		switch k := r.IntN(100); {
		case k < 25:
			typ = "erp.login.code"
			data = fmt.Sprintf(`"category":"verification","to":[%s],"template":"login-code","params":{"code":"%06d"}`, to, r.IntN(1_000_000))
		case k < 55:
			typ = "erp.invoice.due"
			data = fmt.Sprintf(`"category":"notification","to":[%s],"template":"invoice-due","params":{"customer":"华星贸易%d","amount":"%d.00","due":"2026-11-30"}`,
				to, who, 100+r.IntN(99_900))
		case k < 75:
			typ = "erp.approval.waiting"
			data = fmt.Sprintf(`"category":"notification","to":[%s],"template":"approval","params":{"title":"采购申请 PO-%d","applicant":"李强"}`, to, i)
		case k < 82:
			typ = "erp.stock.low"
			keeper := r.IntN(keepers)
			data = fmt.Sprintf(`"category":"alert","to":[{"name":"库管%d","phone":"%s"}],"template":"stock","params":{"item":"螺栓M%d","quantity":%d}`,
				keeper, phone(50_000_000+keeper), 4+r.IntN(20), r.IntN(50))
		default:
			typ = "erp.promotion"
			text := "年终促销，全场办公用品八折，详询客户经理，拒收请回复R"
			switch k := r.IntN(500); {
			case k == 0:
				text = "【年终促销】全场办公用品八折，拒收请回复R"
			case k <= 50:
				text = "年终答谢，老客户购办公用品折 上 折，详询客户经理，拒收请回复R"
			}
			data = fmt.Sprintf(`"category":"marketing","to":[%s],"content":{"text":"%s"}`, to, text)
		}
		last = fmt.Sprintf(`{"specversion":"1.0","id":"E-%d","source":"/erp/huaxing","type":"%s","time":"%s","tenant":"default","data":{%s}}`+"\n",
			i, typ, at.Format(time.RFC3339Nano), data)
		if _, err := out.WriteString(last); err != nil {
			return err
		}
	}
	return out.Flush()
}

// The recording is the same whenever it is made, and every line is an event. With -record it is written to a file:
//
//	go test ./rules/backtest -run '^TestRecording$' -record events.ndjson -events 1000000
func TestRecording(t *testing.T) {
	var b bytes.Buffer
	if err := writeRecording(&b, 5000); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	if got, want := hex.EncodeToString(sum[:8]), "735968b02c4ad2bc"; got != want {
		t.Errorf("the recording changed: %s, want %s; the report in docs/backtest.md is of the old one", got, want)
	}
	lines := 0
	for line := range bytes.Lines(b.Bytes()) {
		lines++
		if _, err := schemas.DecodeEvent(line); err != nil {
			t.Fatalf("line %d: %v", lines, err)
		}
	}
	if lines != 5000 {
		t.Errorf("%d lines", lines)
	}
	if *recordTo == "" {
		return
	}
	f, err := os.OpenFile(*recordTo, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		err = writeRecording(f, *recordN)
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
