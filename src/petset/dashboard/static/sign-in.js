// The link of `petset open` ends in #open=<secret>, which no server and no log sees: this hands it over, once, for the
// cookie of a session, and begins the dashboard. A link pasted into this very tab changes nothing but what is after #.

async function signIn() {
  const secret = new URLSearchParams(location.hash.slice(1)).get("open");
  if (!secret) return;
  history.replaceState(null, "", "/dashboard/");
  const body = JSON.stringify({ link: secret });
  const answer = await fetch("/dashboard/session", { method: "POST", headers: { "content-type": "application/json" }, body }).catch((error) => error);
  if (answer.ok) {
    location.reload();
    return;
  }
  const said = document.getElementById("said");
  said.textContent = answer instanceof Error ? "cannot sign in: the connection was lost; run `petset open` again" : (await answer.json()).message;
  said.className = "error";
}

addEventListener("hashchange", signIn);
await signIn();
