package link

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"
)

// The vectors were computed by an independent implementation of the guide.
func TestKingdeeSignature(t *testing.T) {
	for args, want := range map[string]string{
		"":        "bae76c9f49192ff3c3e63b7ffbd3e565cc188191377633e9a43c51e96e9ce5ed",
		SingleUse: "8dc4c7e267f5b81b1f4bb1ff580f6c0bbb8de21a672356dc5445dfb31d975c8b",
	} {
		k := Kingdee{DBID: "5be178b96562c0", Username: "Administrator", AppID: "app_01", Timestamp: time.Unix(1700000000, 0), OtherArgs: args}
		if k.Sign("secret_01"); k.Signature != want {
			t.Errorf("%q: %s, want %s", args, k.Signature, want)
		}
		if !k.Verify("old", "secret_01") || !k.Verify("secret_01", "secret_01") || k.Verify("old") || k.Verify() {
			t.Errorf("%q: verified with the wrong secret, or not with the right one", args)
		}
		k.Username = "mallory"
		if k.Verify("secret_01") {
			t.Errorf("%q: another user's link was verified", args)
		}
	}
}

func TestKingdeeRoundTrip(t *testing.T) {
	k := signed(func(k *Kingdee) { k.EntryRole, k.OpenMode, k.PKID = "张三/+?", "1", strings.Repeat("~ÿ", 9) })
	s := url(t, k)
	for _, ud := range []string{
		s[strings.Index(s, "ud=")+3:],
		strings.NewReplacer("%2B", " ", "%2F", "_").Replace(s[strings.Index(s, "ud=")+3:]), // through a form, through base64url
	} {
		got, err := ParseKingdee(unescape(ud))
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains([]bool{got.Timestamp.Equal(k.Timestamp), got.Signature == k.Signature, got.EntryRole == k.EntryRole, got.PKID == k.PKID, got.Verify("secret_01")}, false) {
			t.Errorf("%+v, want %+v", got, k)
		}
	}
	if problems := k.Check(now, MaxLife); len(problems) != 0 {
		t.Errorf("%+v", problems)
	}
	if _, err := (&Kingdee{Username: "\xff"}).URL("https://a.cn"); err == nil {
		t.Error("a user name that is no text made a link")
	}
}

func TestParseKingdeeErrors(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	for ud, want := range map[string]string{
		"":                                   "JSON object",
		"!!":                                 "not base64",
		encode([]byte("null")):               "JSON object",
		encode([]byte("[]")):                 "JSON object",
		encode([]byte(`{"dbid":{}}`)):        "dbid is neither",
		encode([]byte(`{"dbid":true}`)):      "dbid is neither",
		encode([]byte(`{"a":1,"A":2}`)):      "twice",
		encode([]byte(`{"a":1,"a":2}`)):      "JSON object",
		encode([]byte(`{"timestamp":1.5}`)):  "timestamp is not",
		encode([]byte(`{"timestamp":"-1"}`)): "timestamp is not",
		encode([]byte(`{"timestamp":"99999999999999"}`)):            "timestamp is not",
		encode([]byte(strings.Repeat(" ", maxUD))):                  "at most",
		encode([]byte(`{"appsecret":"hunter2","dbid":["hunter2"]`)): "JSON object",
	} {
		_, err := ParseKingdee(ud)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%.40s: %v, want %s", ud, err, want)
		}
	}
	k, err := ParseKingdee(encode([]byte("\ufeff{\"DBID\":5,\"Timestamp\":1700000000,\"AppSecret\":\"x\",\"userPassword\":\"y\",\"lcid\":null,\"more\":[]}")))
	if err != nil || k.DBID != "5" || !k.Timestamp.Equal(made) || !slices.Equal(k.Secrets, []string{"appsecret", "userpassword"}) {
		t.Errorf("%+v, %v", k, err)
	}
}

func TestPermitCount(t *testing.T) {
	for args, want := range map[string]struct {
		n    int
		said bool
	}{
		"":                                  {0, false},
		"|{'other':'1'}":                    {0, false},
		SingleUse:                           {1, true},
		`a|b|{"PermitCount" : 1}`:           {1, true},
		"|{permitcount:2,'x':'1'}":          {2, true},
		"|{'permitcount':''}":               {0, true},
		"|{'permitcount':'all'}":            {0, true},
		"{'permitcount':1,'permitcount':1}": {0, true},
	} {
		k := Kingdee{OtherArgs: args}
		if n, said := k.PermitCount(); n != want.n || said != want.said {
			t.Errorf("%q: %d, %v", args, n, said)
		}
	}
}

func TestHours(t *testing.T) {
	for d, want := range map[time.Duration]string{MaxLife: "120h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", 10 * time.Hour: "10h"} {
		if got := hours(d); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func FuzzParseKingdee(f *testing.F) {
	s, err := signed(nil).UD()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{s, strings.TrimRight(s, "="), "e30=", "bnVsbA==", "\x00", base64.StdEncoding.EncodeToString([]byte(`{"otherargs":"permitcount","timestamp":"1"}`))} {
		f.Add(seed)
		b, _ := base64.StdEncoding.DecodeString(seed)
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, ud := range []string{s, base64.StdEncoding.EncodeToString([]byte(s))} {
			k, err := ParseKingdee(ud)
			if err != nil {
				continue
			}
			k.Check(now, MaxLife)
			again, err := k.UD()
			if err != nil {
				t.Fatalf("%+v: %v", k, err)
			}
			back, err := ParseKingdee(again)
			if err != nil && !k.Timestamp.IsZero() {
				t.Fatalf("%+v: %v", k, err)
			} else if err == nil && (back.Username != k.Username || !back.Timestamp.Equal(k.Timestamp) || back.OtherArgs != k.OtherArgs) {
				t.Fatalf("%+v, was %+v", back, k)
			}
		}
	})
}
