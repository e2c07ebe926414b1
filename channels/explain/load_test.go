package explain_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/yizhan-dev/yizhan/channels"
	"github.com/yizhan-dev/yizhan/channels/explain"
	"github.com/yizhan-dev/yizhan/schemas"
)

const header = "channel,provider,code_or_pattern,class,cause_en,remedy_en,cause_zh,remedy_zh,source\n"

// wide is the header with the columns that may be left out.
const wide = "channel,provider,code_or_pattern,class,cause_en,remedy_en,cause_zh,remedy_zh,source,also_en,also_zh,after_seconds,name\n"

// Columns behind "source" are shown, and a row may end before them; phrases of a user work as ours do.
func TestOptionalColumns(t *testing.T) {
	table, err := explain.Load(strings.NewReader(wide +
		"sms,acme,says:钱包*空|wallet * empty~,config,No money,Top up,没钱,充值,us,Ask finance,问财务,7200,no-money\n" +
		"sms,acme,E1,throttled,Slow,Wait,慢,等,us\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"您的钱包已空", "E9 WalletIsEmptyNow"} {
		d := table.ExplainLine(channels.Quote{Channel: "sms", Provider: "acme", Text: line})
		if d.ID != "sms/acme/no-money" || d.Also.Zh != "问财务" || d.Also.En != "Ask finance" || d.After != 2*time.Hour || d.When.En != "not before the remedy" {
			t.Errorf("%q: %+v", line, d)
		}
	}
	if d := table.ExplainLine(channels.Quote{Channel: "sms", Provider: "acme", Text: "wallets emptied"}); d.Known {
		t.Errorf("a piece is whole words: %+v", d)
	}
	if d := table.ExplainLine(channels.Quote{Channel: "sms", Provider: "acme", Text: "E1"}); d.When.En != "once the limit is over" || d.When.Zh == "" {
		t.Errorf("when: %+v", d.When)
	}
}

func TestUserRowsWin(t *testing.T) {
	table, err := explain.Load(strings.NewReader("\ufeff" + header +
		"sms,aliyun,isv.AMOUNT_NOT_ENOUGH,temporary,Finance tops up on Mondays,Wait,财务每周一充值,请等待,us\n" + // replaces ours
		"sms,aliyun,Throttling.User,content,Ours matches by expression,-,测试,测试,\n" + // an exact code before our re:^Throttling
		"sms,aliyun,isv.NEW,recipient,New,-,新增,新增,us\n" +
		"sms,acme,E42,auth,Another provider,-,其他服务商,测试,us\n" +
		"email,qq,re:frequency limited,temporary,Shadow,-,测试,测试,us\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		f     channels.Failure
		class channels.Class
		cause string
	}{
		{channels.Failure{Kind: "sms", Provider: "aliyun", Code: "isv.AMOUNT_NOT_ENOUGH"}, channels.Temporary, "Finance tops up on Mondays"},
		{channels.Failure{Kind: "sms", Provider: "aliyun", Code: "Throttling.User"}, channels.Content, "Ours matches by expression"},
		{channels.Failure{Kind: "sms", Provider: "aliyun", Code: "isv.new"}, channels.BadTarget, "New"},
		{channels.Failure{Kind: "sms", Provider: "acme", Code: "E42"}, channels.Auth, "Another provider"},
		{channels.Failure{Kind: "email", Provider: "qq", Code: "550", Line: "550 Sender frequency limited"}, channels.Temporary, "Shadow"},
		{channels.Failure{Kind: "email", Provider: "qq", Code: "550", Line: "550 Mailbox not found"}, channels.BadTarget, "The QQ/Exmail address does not exist"},
		{channels.Failure{Kind: "sms", Provider: "aliyun", Code: "Throttling.Api"}, channels.Throttled, "The API call rate of this account or user is above the gateway's limit"},
	} {
		if d := table.Explain(&tt.f); d.Class != tt.class || d.Cause.En != tt.cause || !d.Known {
			t.Errorf("%s: got %s %q, want %s %q", tt.f.Code, d.Class, d.Cause.En, tt.class, tt.cause)
		}
	}

	rows := table.Rows()
	if r := rows[0]; r.ID != "sms/aliyun/isv.AMOUNT_NOT_ENOUGH" || !r.User {
		t.Errorf("first row %+v, want the user's", r)
	}
	if got, want := len(rows), len(explain.Default().Rows())+4; got != want {
		t.Errorf("%d rows, want %d: four new ones, one in place of ours", got, want)
	}
	rows[0].Cause.En = "changed"
	if table.Rows()[0].Cause.En == "changed" {
		t.Error("a caller can change the table through Rows")
	}
	if d := explain.Default().Explain(&channels.Failure{Kind: "sms", Provider: "aliyun", Code: "isv.NEW"}); d.Known {
		t.Error("a user's rows are in the default table")
	}
}

func TestLoadRefusesBadRows(t *testing.T) {
	const good = "sms,acme,E1,auth,a,b,甲,乙,us\n"
	tests := []struct{ name, csv, want string }{
		{"empty", "", "line 1: the file is empty, the header is missing"},
		{"header", "channel,provider\n", "line 1: the header must be channel,provider,code_or_pattern"},
		{"columns", header + good + "sms,acme\n", "line 3: want 9 to 9 columns, found 2"},
		{"more columns than the header", header + "sms,acme,E1,auth,a,b,甲,乙,us,x,甲\n", "line 2: want 9 to 9 columns, found 11"},
		{"half of also", wide + "sms,acme,E1,auth,a,b,甲,乙,us,x\n", "line 2: also_en and also_zh go together"},
		{"seconds", wide + "sms,acme,E1,auth,a,b,甲,乙,us,,,soon\n", "line 2: after_seconds must be a whole number"},
		{"too many seconds", wide + "sms,acme,E1,auth,a,b,甲,乙,us,,,99999999999\n", "line 2: after_seconds must be a whole number"},
		{"name", wide + "sms,acme,E1,auth,a,b,甲,乙,us,,,,No Name\n", "line 2: name is made of a-z"},
		{"a provider of any channel", header + "any,acme,E1,auth,a,b,甲,乙,us\n", "line 2: with channel any the provider must be generic"},
		{"phrases", header + "sms,acme,says:|*|,auth,a,b,甲,乙,us\n", "line 2: says: has no words"},
		{"channel", header + "fax,acme,E1,auth,a,b,甲,乙,us\n", `line 2: unknown channel "fax"`},
		{"class", header + "sms,acme,E1,fatal,a,b,甲,乙,us\n", `line 2: unknown class "fatal"`},
		{"pattern", header + good + "sms,acme,re:(,auth,a,b,甲,乙,us\n", "line 3: the expression is not valid"},
		{"missing text", header + "sms,acme,E1,auth,a,b,甲,,us\n", "line 2: remedy_zh is missing"},
		{"spaces", header + "sms,acme,E1 ,auth,a,b,甲,乙,us\n", "line 2: spaces around code_or_pattern"},
		{"upper case", header + "sms,Acme,E1,auth,a,b,甲,乙,us\n", "line 2: provider must be in lower case"},
		{"duplicate", header + good + good, "line 3: the same row as line 2"},
		{"quote", header + good + "sms,acme,\"E1,auth\n", "line 3: not valid CSV"},
		{"line counts the lines of a quoted field", header + "sms,acme,E1,auth,\"a\nb\",b,甲,乙,us\nfax,x,E,auth,a,b,甲,乙,us\n", "line 4: unknown channel"},
		{"too large", header + strings.Repeat(good, 4<<20/len(good)+1), "line 1: the file is larger than 4 MiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := explain.Load(strings.NewReader(tt.csv))
			invalid, ok := errors.AsType[*schemas.Invalid](err)
			if !ok {
				t.Fatalf("error %v, want a *schemas.Invalid", err)
			}
			p := invalid.Problems[0]
			if !strings.HasPrefix(p.En, tt.want) || !strings.HasPrefix(p.Zh, "第") || p.Keyword == "" {
				t.Errorf("got %+v, want %q and the same in Chinese", p, tt.want)
			}
		})
	}
	t.Run("every bad row is reported", func(t *testing.T) {
		_, err := explain.Load(strings.NewReader(header + "fax,a,b,auth,a,b,甲,乙,\n" + good + "sms,a,b,no,a,b,甲,乙,\n"))
		if invalid, ok := errors.AsType[*schemas.Invalid](err); !ok || len(invalid.Problems) != 2 {
			t.Errorf("got %v, want two problems", err)
		}
	})
	t.Run("a reader that fails", func(t *testing.T) {
		if _, err := explain.Load(iotest.ErrReader(io.ErrClosedPipe)); !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("got %v, want it to wrap the reader's error", err)
		}
	})
}

// FuzzLoad: no file makes the reader fall over; what it accepts can be asked, and is told back whole.
func FuzzLoad(f *testing.F) {
	f.Add(wide+"sms,acme,says:a*b~|c,auth,a,b,甲,乙,us,x,y,60,n\n", "a x b")
	f.Add(header+"any,generic,re:^x(,auth,a,b,甲,乙,us\n", "x")
	f.Add(header+"email,generic,\"550\n5.1.1\",auth,a,b,甲,乙,us\n", "550 5.1.1")
	f.Fuzz(func(t *testing.T, csv, line string) {
		table, err := explain.Load(strings.NewReader(csv))
		if err != nil {
			if invalid, ok := errors.AsType[*schemas.Invalid](err); !ok || len(invalid.Problems) == 0 {
				t.Fatalf("%v", err)
			}
			return
		}
		for _, r := range table.Rows() {
			if !r.User {
				break
			}
			if d := table.ExplainLine(channels.Quote{Channel: r.Channel, Provider: r.Provider, Text: line}); d.Class == "" || d.When.Zh == "" {
				t.Errorf("%+v: %+v", r, d)
			}
		}
	})
}

// FuzzPhrase: the phrase made of a line is found in it.
func FuzzPhrase(f *testing.F) {
	f.Add("550 5.7.1 Service from 203.0.113.7 refused")
	f.Add("PhoneNumberInBlacklist 手机号＃在黑名单")
	f.Add("a*b|c~")
	f.Fuzz(func(t *testing.T, line string) {
		if len(line) > 1000 || strings.ContainsAny(line, "#|*~\"\r\n") {
			return
		}
		code := explain.Phrase(line)
		if code == "says:" {
			return
		}
		table, err := explain.Load(strings.NewReader(header + "sms,acme,\"" + code + "\",auth,own,b,甲,乙,us\n"))
		if err != nil {
			t.Fatalf("%q: %v", code, err)
		}
		if d := table.Explain(&channels.Failure{Kind: "sms", Provider: "acme", Line: line}); d.Cause.En != "own" {
			t.Errorf("%q is not found in %q: %+v", code, line, d)
		}
	})
}
