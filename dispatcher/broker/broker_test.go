package broker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/yizhan-dev/yizhan/rules"
	"github.com/yizhan-dev/yizhan/schemas"
)

func open(t *testing.T, dir string) *Broker {
	t.Helper()
	c := Config{DataDir: dir}
	c.Defaults()
	b, err := Open(t.Context(), c, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	return b
}

func TestOneProcessOneDataDirectory(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	c := Config{DataDir: dir}
	c.Defaults()
	if second, err := Open(t.Context(), c, zap.NewNop()); err == nil {
		second.Close()
		t.Fatal("a second broker opened the same directory")
	} else if !strings.Contains(err.Error(), "in use") {
		t.Errorf("error %v does not say that the directory is in use", err)
	}
	b.Close()
	open(t, dir) // free again
}

func TestPutIsWonByOne(t *testing.T) {
	b := open(t, t.TempDir())
	const writers = 32
	var won atomic.Int32
	var g sync.WaitGroup
	for range writers {
		g.Go(func() {
			switch _, err := b.Put(t.Context(), Ledger, &nats.Msg{Subject: "yz.ledger.x", Data: []byte("a")}, 0); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrConflict):
				t.Error(err)
			}
		})
	}
	g.Wait()
	if won.Load() != 1 {
		t.Errorf("%d writers won, want 1", won.Load())
	}
	last, err := b.Last(t.Context(), Ledger, "yz.ledger.x")
	if err != nil || last == nil {
		t.Fatal(last, err)
	}
	if _, err := b.Put(t.Context(), Ledger, &nats.Msg{Subject: "yz.ledger.x"}, last.Sequence); err != nil {
		t.Errorf("on top of the last: %v", err)
	}
	if _, err := b.Put(t.Context(), Ledger, &nats.Msg{Subject: "yz.ledger.x"}, last.Sequence); !errors.Is(err, ErrConflict) {
		t.Errorf("on top of an older one: %v", err)
	}
}

// lost is a JetStream whose answers are lost after the write has happened.
type lost struct {
	jetstream.JetStream
	times int
}

func (l *lost) PublishMsg(ctx context.Context, m *nats.Msg, o ...jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ack, err := l.JetStream.PublishMsg(ctx, m, o...)
	if l.times > 0 && err == nil {
		l.times--
		return nil, nats.ErrTimeout
	}
	return ack, err
}

func TestPutKnowsItsOwnLostWrite(t *testing.T) {
	b := open(t, t.TempDir())
	b.JS = &lost{b.JS, 1}
	seq, err := b.Put(t.Context(), Ledger, &nats.Msg{Subject: "yz.ledger.x", Data: []byte("a")}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if last, _ := b.Last(t.Context(), Ledger, "yz.ledger.x"); last == nil || last.Sequence != seq {
		t.Errorf("last %+v, Put said %d", last, seq)
	}
}

func TestAScheduleReplacesTheOlderOne(t *testing.T) {
	b := open(t, t.TempDir())
	target := DeliverSubject("mail", schemas.Normal, "acme")
	due := time.Now().Add(300 * time.Millisecond)
	for _, body := range []string{"old", "new"} {
		m := nats.NewMsg("")
		m.Data = []byte(body)
		if err := b.Schedule(t.Context(), LaterSubject("x"), due, target, m); err != nil {
			t.Fatal(err)
		}
	}
	c, err := b.Consumer(t.Context(), Deliveries, "c", target, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
	if err != nil {
		t.Fatal(err)
	}
	meta, err := m.Metadata()
	if err != nil || string(m.Data()) != "new" || meta.Timestamp.Before(due) || meta.NumPending != 0 {
		t.Errorf("got %q at %s (due %s), %d more pending, %v", m.Data(), meta.Timestamp, due, meta.NumPending, err)
	}
}

func TestAFullStreamSaysSo(t *testing.T) {
	c := Config{DataDir: t.TempDir(), EventsMaxBytes: 2000}
	c.Defaults()
	b, err := Open(t.Context(), c, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 10 {
		if _, err = b.Publish(t.Context(), &nats.Msg{Subject: "yz.event.acme.x", Data: make([]byte, 500)}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
}

func TestPlannedEventsGiveWayToNewOnes(t *testing.T) {
	c := Config{DataDir: t.TempDir(), EventsMaxBytes: 100_000}
	c.Defaults()
	b, err := Open(t.Context(), c, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	plan, err := b.Consumer(t.Context(), Events, "plan", "yz.event.>", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	stored := func() (n int) {
		for ; n < 1000; n++ {
			if _, err := b.Publish(t.Context(), &nats.Msg{Subject: "yz.event.acme.x", Data: make([]byte, 1000)}); err != nil {
				if !errors.Is(err, ErrFull) {
					t.Fatal(err)
				}
				return n
			}
		}
		return n
	}
	first := stored()
	if _, err := b.MakeRoom(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if n := stored(); n != 0 {
		t.Fatalf("room for %d was made of events that nobody has planned", n)
	}
	batch, err := plan.Fetch(first, jetstream.FetchMaxWait(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for m := range batch.Messages() {
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.MakeRoom(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if n := stored(); n < first/5 {
		t.Errorf("room for %d after %d were planned", n, first)
	}
}

func TestStraysAreCounted(t *testing.T) {
	b := open(t, t.TempDir())
	for _, channel := range []string{"mail", "gone", "gone"} {
		if _, err := b.Publish(t.Context(), &nats.Msg{Subject: DeliverSubject(channel, schemas.High, "acme")}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.Strays(t.Context(), func(c string) bool { return c == "mail" })
	if err != nil || len(got) != 1 || got["gone"] != 2 {
		t.Errorf("strays %v, %v", got, err)
	}
}

func TestAMissingNumberKeyIsNotMadeAnew(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	if _, err := b.Hasher(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "number.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Hasher(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("got %v, want an error that says to restore the key", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "number.key")); err == nil {
		t.Error("a new key was written over the place of the lost one")
	}
}

func TestDifferencesAreShownAndVitalOnesRefused(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	info, err := b.Stream(Events).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := info.Config
	c.MaxAge = time.Hour
	if _, err := b.JS.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	b.Close()
	b = open(t, dir) // shown, left as it is
	if info, _ := b.Stream(Events).Info(t.Context()); info.Config.MaxAge != time.Hour {
		t.Errorf("max_age was overwritten: %s", info.Config.MaxAge)
	}
	c = b.Stream(Events).CachedInfo().Config
	c.Discard = jetstream.DiscardOld // would lose events silently
	if _, err := b.JS.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	b.Close()
	cfg := Config{DataDir: dir}
	cfg.Defaults()
	if b, err := Open(t.Context(), cfg, zap.NewNop()); err == nil {
		b.Close()
		t.Error("a stream that loses events was accepted")
	} else if !strings.Contains(err.Error(), "discard") {
		t.Errorf("error %v does not name the setting", err)
	}
}

func TestPodsWithAnotherNumberKeyAreRefused(t *testing.T) {
	b := open(t, t.TempDir())
	file := func(secret string) string {
		f := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(f, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	first, err := b.Hasher(t.Context(), file(strings.Repeat("a", 32)))
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.Hasher(t.Context(), file(strings.Repeat("a", 32)+"\n"))
	if err != nil || first.Hash("+8613800138000") != again.Hash("+8613800138000") {
		t.Errorf("the same key hashes differently, or %v", err)
	}
	if _, err := b.Hasher(t.Context(), file(strings.Repeat("b", 32))); err == nil {
		t.Error("another key was accepted: every pod would count the cap for itself")
	}
	if _, err := b.Hasher(t.Context(), file("short")); err == nil {
		t.Error("a short key was accepted")
	}
	if h := first.Hash("+8613800138000"); strings.Contains(h, "138") || h != Token(h) {
		t.Errorf("hash %s is not a subject token without the number", h)
	}
}

func TestCapStore(t *testing.T) {
	b := open(t, t.TempDir())
	s := CapStore{b, Hasher{[]byte("k")}}
	v, rev, err := s.Load(t.Context(), "+8613800138000")
	if err != nil || v != nil || rev != 0 {
		t.Fatal(v, rev, err)
	}
	rev, err = s.Swap(t.Context(), "+8613800138000", []byte("1"), 0, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Swap(t.Context(), "+8613800138000", []byte("2"), 0, time.Hour); !errors.Is(err, rules.ErrConflict) {
		t.Errorf("stale revision: %v", err)
	}
	if v, at, err := s.Load(t.Context(), "+8613800138000"); err != nil || string(v) != "1" || at != rev {
		t.Errorf("load %q at %d, %v", v, at, err)
	}
}

func TestNonceIsFreshOnce(t *testing.T) {
	b := open(t, t.TempDir())
	for i, want := range []bool{true, false} {
		if fresh, err := b.Nonce(t.Context(), "key", "n1"); err != nil || fresh != want {
			t.Errorf("use %d: fresh %v, %v", i+1, fresh, err)
		}
	}
	if fresh, err := b.Nonce(t.Context(), "other", "n1"); err != nil || !fresh {
		t.Errorf("another key's nonce: %v, %v", fresh, err)
	}
}

func TestListenIsClosedToStrangers(t *testing.T) {
	c := Config{DataDir: t.TempDir(), Listen: "0.0.0.0:0"}
	c.Defaults()
	if b, err := Open(t.Context(), c, zap.NewNop()); err == nil {
		b.Close()
		t.Fatal("an open listener without a token was accepted")
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("a-secret-token\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c = Config{DataDir: t.TempDir(), Listen: "127.0.0.1:0", TokenFile: token}
	c.Defaults()
	b, err := Open(t.Context(), c, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if nc, err := nats.Connect(b.ClientURL()); err == nil {
		nc.Close()
		t.Error("a client without the token was let in")
	}
	nc, err := nats.Connect(b.ClientURL(), nats.Token("a-secret-token"))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
}

func TestToken(t *testing.T) {
	for in, want := range map[string]string{"isv.X": "isv_X", "550 5.1.1": "550_5_1_1", "": "_", "a-b_C9": "a-b_C9", "号*>": "___"} {
		if got := Token(in); got != want {
			t.Errorf("Token(%q) = %q, want %q", in, got, want)
		}
	}
}
