"use strict";

// Shows the OpenAPI document of this host, and sends requests to it. Every text goes in as text, so nothing that a
// document or an answer says becomes a part of the page.

let key = "";

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children);
  return made;
}

async function ask(method, path, headers = {}, body = undefined) {
  const answer = await fetch(path, {
    method,
    body,
    headers: { ...headers, Authorization: `Bearer ${key}` },
    credentials: "omit",
    redirect: "error",
  });
  return [answer, await answer.text()];
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function exampleOf(operation) {
  const content = operation.requestBody?.content?.["application/json"];
  if (!content) return undefined;
  const example = content.example ?? Object.values(content.examples ?? {})[0]?.value;
  return example === undefined ? "{}" : JSON.stringify(example, null, 2);
}

function field(form, name, label, control) {
  control.name = name;
  form.append(element("label", {}, label, control));
  return control;
}

function operationOf(method, path, operation) {
  const form = element("form");
  const controls = (operation.parameters ?? [])
    .filter((parameter) => parameter.name !== "Authorization")
    .map((parameter) => {
      const input = element("input", { spellcheck: "false", autocomplete: "off" });
      input.required = Boolean(parameter.required);
      field(form, parameter.name, `${parameter.name} (${parameter.in})`, input);
      return [parameter, input];
    });
  const example = exampleOf(operation);
  let body;
  if (example !== undefined) {
    body = field(form, "body", "Body", element("textarea", { rows: "8", spellcheck: "false" }));
    body.value = example;
  }
  const shown = element("pre");
  shown.hidden = true;
  form.append(element("button", {}, "Send"), shown);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let url = path;
    const query = new URLSearchParams();
    const headers = body ? { "Content-Type": "application/json" } : {};
    for (const [parameter, input] of controls) {
      if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value && parameter.in === "query") query.append(parameter.name, input.value);
      else if (input.value && parameter.in === "header") headers[parameter.name] = input.value;
    }
    if (query.size) url += `?${query}`;
    shown.hidden = false;
    try {
      const [answer, text] = await ask(method.toUpperCase(), url, headers, body?.value);
      const etag = answer.headers.get("ETag");
      shown.textContent = `${answer.status} ${answer.statusText}${etag ? `\nETag: ${etag}` : ""}\n\n${pretty(text)}`;
    } catch (error) {
      shown.textContent = String(error);
    }
  });
  const details = element("details", {}, element("summary", {}, element("b", {}, method.toUpperCase()), path));
  for (const text of (operation.description ?? "").split("\n\n")) details.append(element("p", {}, text));
  details.append(form);
  return details;
}

async function show(event) {
  event.preventDefault();
  key = document.getElementById("key").value.trim();
  const status = document.getElementById("status");
  const routes = document.getElementById("routes");
  try {
    const [answer, text] = await ask("GET", "/openapi.json");
    const found = JSON.parse(text);
    if (!answer.ok) throw new Error(found.detail);
    const made = Object.entries(found.paths).flatMap(([path, operations]) =>
      Object.entries(operations).map(([method, operation]) => operationOf(method, path, operation)),
    );
    routes.replaceChildren(...made);
    status.textContent = `${made.length} routes of ${found.info.title} ${found.info.version}.`;
  } catch (error) {
    routes.replaceChildren();
    status.textContent = String(error.message);
  }
}

document.getElementById("open").addEventListener("submit", show);
