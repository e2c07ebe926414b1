package channels

// As finds an optional interface of a channel ([Reconciler], [Examiner], [Previewer]…) behind its decorators: they
// embed [Channel], which hides what else it can do, and say by Unwrap what they decorate.
func As[T any](ch Channel) (T, bool) {
	for {
		if t, ok := ch.(T); ok {
			return t, true
		}
		u, ok := ch.(interface{ Unwrap() Channel })
		if !ok {
			var none T
			return none, false
		}
		ch = u.Unwrap()
	}
}
