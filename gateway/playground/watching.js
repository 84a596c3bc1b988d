// Following a request to its end, through lost connections.

const PAUSES_MS = [500, 1000, 2000, 4000, 8000];

/**
 * Follow a request. `on.status(status, newLines)` gets each change, `on.lost(error)` each loss of the connection.
 * Returns the last status, or null once `signal` is aborted. What no repetition can mend is thrown.
 */
export async function watch(gateway, request, on, signal) {
  let linesTold = 0;
  for (let failures = 0; ; ) {
    try {
      let last = null;
      let linesSeen = 0; // each stream tells all lines from the first on
      for await (const status of gateway.events(request, signal)) {
        const lines = (status.logs ?? []).filter(() => ++linesSeen > linesTold);
        linesTold = Math.max(linesTold, linesSeen);
        failures = 0;
        last = status;
        on.status(status, lines);
      }
      if (last?.status === "COMPLETED") return last;
    } catch (error) {
      if (signal.aborted) return null;
      if (error.status > 0 && error.status < 500 && error.status !== 429) throw error;
      on.lost(error);
    }
    await pause(PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)], signal);
    if (signal.aborted) return null;
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", resolve);
  });
}
