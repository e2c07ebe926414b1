package email

import (
	"context"
	"errors"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"testing"

	"github.com/yizhan-dev/yizhan/channels"
)

// Replies are those of facts: diagnoses_samples.csv and smtp.md. The class is what their family
// says; the diagnoses know some of them better.
func TestReply(t *testing.T) {
	for _, tt := range []struct {
		phase phase
		reply string
		code  string
		class channels.Class
	}{
		{inGreeting, "421 4.7.0 Too many connections from your host", "421 4.7.0", channels.Throttled},
		{inGreeting, "421 4.3.2 Service not available", "421 4.3.2", channels.Temporary},
		{inGreeting, "554 No SMTP service here", "554", channels.Temporary},
		{inGreeting, "550 5.7.606 Access denied, banned sending IP [203.0.113.7]", "550 5.7.606", channels.Config},
		{inTLS, "454 4.7.0 TLS not available due to local problem", "454 4.7.0", channels.Temporary},
		{inTLS, "502 5.5.1 Command not implemented", "502 5.5.1", channels.Config},
		{inAuth, "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.", "535 5.7.139", channels.Auth},
		{inAuth, "535 Login Fail. Please enter your authorization code to login.", "535", channels.Auth},
		{inAuth, "526 Authentication failure[0]", "526", channels.Auth},
		{inAuth, "534 5.7.9 Application-specific password required.", "534 5.7.9", channels.Auth},
		{inAuth, "454 4.7.0 Temporary authentication failure", "454 4.7.0", channels.Temporary},
		{inAuth, "538 5.7.11 Encryption required for requested authentication mechanism", "538 5.7.11", channels.Config},
		{inAuth, "550 User has no permission", "550", channels.Auth},
		{inMail, "530 5.7.0 Must issue a STARTTLS command first", "530 5.7.0", channels.Config},
		{inMail, "530 5.7.57 Client not authenticated to send mail. [HK2PR02CA0141.apcprd02.prod.outlook.com]", "530 5.7.57", channels.Config},
		{inMail, "501 Mail from address must be same as authorization user.", "501", channels.Config},
		{inMail, "553 Mail from must equal authorized user", "553", channels.Config},
		{inMail, `436 "MAIL FROM" doesn't conform with authentication`, "436", channels.Temporary},
		{inMail, "550 5.4.5 Daily user sending limit exceeded.", "550 5.4.5", channels.Throttled},
		{inRcpt, "550 5.1.1 <nobody@example.com>: Recipient address rejected: User unknown in virtual mailbox table", "550 5.1.1", channels.BadTarget},
		{inRcpt, "550 Mailbox not found.", "550", channels.BadTarget},
		{inRcpt, "550 #5.1.0 Address rejected.", "550 5.1.0", channels.BadTarget},
		{inRcpt, "559 Invalid rcptto [@sm200101]", "559", channels.BadTarget},
		{inRcpt, "552 5.2.2 Over quota", "552 5.2.2", channels.BadTarget},
		{inRcpt, "452 4.2.2 The recipient's inbox is out of storage space.", "452 4.2.2", channels.Temporary},
		{inRcpt, "450 4.2.0 <a@example.com>: Recipient address rejected: Greylisted, see http://postgrey.example", "450 4.2.0", channels.Temporary},
		{inRcpt, "550 5.7.1 Service unavailable; Client host [203.0.113.7] blocked using zen.spamhaus.org", "550 5.7.1", channels.Permanent},
		{inRcpt, "550 Sender frequency limited. Please try later", "550", channels.Throttled},
		{inRcpt, "554 Reject by behaviour spam at Rcpt State(Connection IP address:203.0.113.7)ANTISPAM_BAT : too frequently sending", "554", channels.Throttled},
		{inRcpt, "550 RP:TRC 126 smtp2", "550", channels.Throttled},
		{inDot, "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded", "432 4.3.2", channels.Throttled},
		{inDot, "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a permanent exception", "554 5.2.0", channels.Throttled},
		{inDot, "552 5.3.4 Message size exceeds fixed limit", "552 5.3.4", channels.Content},
		{inDot, "554 5.7.1 Message rejected as spam", "554 5.7.1", channels.Permanent},
		{inDot, "554 DT:SPM 163 smtp10,DsCowAD3abc,please see http://mail.163.com/help/help_spam_16.htm", "554", channels.Permanent},
		{inDot, "451 DT:SPM 163 mx13,please try again", "451", channels.Temporary},
		{inDot, "421 4.7.28 Gmail has detected an unusual rate of mail originating from your IP address", "421 4.7.28", channels.Throttled},
		{inDot, "451 4.7.1 Greylisting in action, please come back later", "451 4.7.1", channels.Temporary},
		// An address or a version number is no enhanced code, and its class must be the reply's.
		{inRcpt, "550 blocked 5.9.10.11 by policy", "550", channels.BadTarget},
		{inRcpt, "451 relay 5.1.1 is down", "451", channels.Temporary},
	} {
		s := &settings{provider: "generic"}
		f := s.explain(t.Context(), &fault{phase: tt.phase, err: reply(tt.reply)})
		if f.Code != tt.code || f.Class != tt.class || f.Maybe {
			t.Errorf("phase %d, %q\n got %q %q maybe %v\nwant %q %q", tt.phase, tt.reply, f.Code, f.Class, f.Maybe, tt.code, tt.class)
		}
		if f.Kind != "email" || f.Provider != "generic" || !strings.HasPrefix(f.Line, tt.reply[:3]+" ") {
			t.Errorf("%q: kind %q, provider %q, line %q", tt.reply, f.Kind, f.Provider, f.Line)
		}
	}
}

// reply is what go-mail makes of a server's reply.
func reply(s string) error {
	return &textproto.Error{Code: int(s[0]-'0')*100 + int(s[1]-'0')*10 + int(s[2]-'0'), Msg: s[4:]}
}

func TestReplyOfSeveralLines(t *testing.T) {
	s := &settings{provider: "gmail"}
	f := s.explain(t.Context(), &fault{phase: inRcpt, err: &textproto.Error{
		Code: 550, Msg: "5.1.1 The email account that you tried to reach does not exist. Please try\n5.1.1 double-checking the recipient's email address",
	}})
	want := "550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the recipient's email address"
	if f.Line != want {
		t.Errorf("Line\n got %q\nwant %q", f.Line, want)
	}
}

// What a server quotes of the login or the recipient stays out of the line.
func TestLineIsClean(t *testing.T) {
	s := &settings{Config: Config{Username: "erp@example.com"}, password: "s3cret-pw", provider: "generic"}
	for _, quoted := range []string{"s3cret-pw", "czNjcmV0LXB3", "AGVycEBleGFtcGxlLmNvbQBzM2NyZXQtcHc=", "wang.fang@example.com", "13912345678"} {
		f := s.explain(t.Context(), &fault{phase: inAuth, err: reply("535 5.7.8 refused: " + quoted)})
		if strings.Contains(f.Error(), quoted) {
			t.Errorf("%q is in %q", quoted, f.Error())
		}
		if f.Err != nil {
			t.Errorf("the chain keeps the server's own words: %v", f.Err)
		}
	}
}

// A far side that speaks no SMTP is quoted, masked, in the line only.
func TestMalformedReply(t *testing.T) {
	s := &settings{provider: "generic"}
	for _, p := range []phase{inGreeting, inRcpt, inDot} {
		f := s.explain(t.Context(), &fault{phase: p, err: textproto.ProtocolError("malformed response: hello wang.fang@example.com")})
		if f.Err != nil || strings.Contains(f.Error(), "wang.fang") || f.Maybe != (p == inDot) {
			t.Errorf("phase %d: %v (chain %v, maybe %v)", p, f, f.Err, f.Maybe)
		}
	}
}

func TestConnectionErrors(t *testing.T) {
	live := t.Context()
	late, cancel := context.WithTimeout(live, -1)
	defer cancel()
	for _, tt := range []struct {
		name  string
		ctx   context.Context
		fault fault
		code  string
		class channels.Class
		maybe bool
	}{
		{"no such host", live, fault{phase: inConnect, err: &net.DNSError{IsNotFound: true}}, "net:dns-nxdomain", channels.Config, false},
		{"no DNS", live, fault{phase: inConnect, err: &net.DNSError{IsTemporary: true}}, "net:dns-temporary", channels.Temporary, false},
		{"dial timed out", live, fault{phase: inConnect, err: os.ErrDeadlineExceeded}, "net:timeout-connect", channels.Temporary, false},
		{"closed before the greeting", live, fault{phase: inGreeting, err: io.EOF}, "net:eof-greeting", channels.Temporary, false},
		{"closed in the handshake", live, fault{phase: inTLS, err: io.EOF}, "net:eof-greeting", channels.Temporary, false},
		{"no STARTTLS", live, fault{phase: inTLS, err: errNoStartTLS}, "net:not-offered", channels.Config, false},
		{"closed at RCPT", live, fault{phase: inRcpt, err: io.EOF}, "net:reset", channels.Temporary, false},
		{"timed out at RCPT", live, fault{phase: inRcpt, err: os.ErrDeadlineExceeded}, "net:timeout-response", channels.Temporary, false},
		{"broke while writing", live, fault{phase: inBody, err: io.ErrClosedPipe}, "net:reset", channels.Temporary, false},
		{"closed after the dot", live, fault{phase: inDot, err: io.EOF}, "net:eof-after-data", channels.Unknown, true},
		{"timed out after the dot", live, fault{phase: inDot, err: os.ErrDeadlineExceeded}, "net:timeout-after-data", channels.Unknown, true},
		{"our time was up after the dot", late, fault{phase: inDot, err: net.ErrClosed}, "net:timeout-after-data", channels.Unknown, true},
		{"our time was up at MAIL", late, fault{phase: inMail, err: net.ErrClosed}, "net:timeout-response", channels.Temporary, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &settings{provider: "generic"}
			f := s.explain(tt.ctx, &tt.fault)
			if f.Code != tt.code || f.Class != tt.class || f.Maybe != tt.maybe || f.Line == "" {
				t.Errorf("got %q %q maybe %v line %q; want %q %q maybe %v", f.Code, f.Class, f.Maybe, f.Line, tt.code, tt.class, tt.maybe)
			}
		})
	}
}

func TestQueueID(t *testing.T) {
	for reply, want := range map[string]string{
		"2.0.0 Ok: queued as 4F2A1C0D":                                         "4F2A1C0D",
		"Mail OK queued as smtp10,DsCowAD3abc--.1234S2 1700000000":             "smtp10,DsCowAD3abc--.1234S2",
		"OK id=1rABCD-0001xy-2Z":                                               "1rABCD-0001xy-2Z",
		"2.6.0 <a@b> [InternalId=4711, Hostname=HK2] Queued mail for delivery": "4711",
		"2.0.0 OK  1700000000 a1-20020a17090a.12 - gsmtp":                      "a1-20020a17090a.12",
		"2.0.0 thank you": "",
		"":                "",
	} {
		if got := queueID(reply); got != want {
			t.Errorf("queueID(%q) = %q, want %q", reply, got, want)
		}
	}
}

// FuzzReply: no server's words may break the reading, or get a line break or a wrong class into it.
func FuzzReply(f *testing.F) {
	f.Add(550, "5.1.1 no such user", int(inRcpt))
	f.Add(421, "4.7.0\n4.7.0 later", int(inDot))
	f.Add(0, "\xff\n", int(inMail))
	s := &settings{Config: Config{Username: "u"}, password: "s3cret-pw"}
	f.Fuzz(func(t *testing.T, code int, text string, p int) {
		out := s.explain(context.Background(), &fault{phase: phase(p), err: &textproto.Error{Code: code, Msg: text}})
		if strings.ContainsAny(out.Line, "\r\n") || len(out.Line) > 1024 || strings.Contains(out.Line, "s3cret-pw") {
			t.Errorf("line %q", out.Line)
		}
		if code >= 400 && code < 500 && out.Class != channels.Temporary && out.Class != channels.Throttled {
			t.Errorf("%d became %q", code, out.Class)
		}
		if _, ok := errors.AsType[*textproto.Error](error(out)); ok {
			t.Error("the raw reply is in the chain")
		}
	})
}
