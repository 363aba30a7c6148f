"use strict";
// Shows /openapi.json, and lets each operation be tried. Everything is put in as text.

let token = "";

const PLACES = { path: "in the path", query: "in the query", header: "in the header" };
const NAMES = {
  path: (name) => "{" + name + "}",
  query: (name) => "?" + name + "=",
  header: (name) => name + ":",
};

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  made.append(...children);
  return made;
}

function resolve(document_, schema) {
  const name = schema.$ref && schema.$ref.split("/").pop();
  return name ? document_.components.schemas[name] : schema;
}

function spell(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map(spell).join(" or ");
  if (schema.enum) return schema.enum.join(", ");
  if (schema.type === "array") return "list of " + spell(schema.items || {});
  const type = [].concat(schema.type || "anything").join(" or ");
  const limits = [];
  if (schema.minimum !== undefined) limits.push("from " + schema.minimum);
  if (schema.maximum !== undefined) limits.push("to " + schema.maximum);
  if (schema.examples) limits.push("such as " + schema.examples.slice(0, 20).join(", "));
  return [type, ...limits].join(" ");
}

function describeMembers(document_, schema) {
  const rows = Object.entries(resolve(document_, schema).properties || {}).map(([name, member]) =>
    element("tr", "", element("td", "", element("code", name)), element("td", spell(member))));
  return element("table", "", ...rows);
}

// Parameters are [place, name, value]: in the path, in the query, or a header.
async function send(method, path, parameters, type, body) {
  const given = parameters.filter(([, , value]) => value !== "");
  const inPlace = (wanted) => given.filter(([place]) => place === wanted)
    .map(([, name, value]) => [name, value]);
  const query = new URLSearchParams(inPlace("query")).toString();
  const headers = Object.fromEntries(inPlace("header"));
  if (token) headers.Authorization = "Bearer " + token;
  if (body) headers["Content-Type"] = type;
  const filled = inPlace("path").reduce(
    (text, [name, value]) => text.replace("{" + name + "}", () => encodeURIComponent(value)), path);
  const answer = await fetch(filled + (query && "?" + query), { method, headers, body });
  const text = await answer.text();
  try {
    return [answer.status, JSON.stringify(JSON.parse(text), null, 2)];
  } catch {
    return [answer.status, text];
  }
}

function makeTrial(method, path, operation) {
  const form = element("form");
  const fields = operation.parameters.map((parameter) => {
    const input = element("input");
    input.required = Boolean(parameter.required);
    if (parameter.schema.enum && parameter.required) input.value = parameter.schema.enum[0];
    form.append(element("label", parameter.name + " ", input));
    return [parameter.in, parameter.name, input];
  });
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  const body = content && element("textarea", JSON.stringify(content.example, null, 2));
  if (body) {
    body.setAttribute("aria-label", "Body of " + path);
    form.append(body);
  }
  const answer = element("pre");
  answer.hidden = true;
  form.append(element("button", "Send"), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const given = fields.map(([place, name, input]) => [place, name, input.value]);
    const [status, text] = await send(method, path, given, "application/json", body && body.value);
    answer.hidden = false;
    answer.textContent = status + "\n" + text;
  });
  return form;
}

function showOperation(document_, method, path, operation) {
  const parts = [element("summary", "", element("b", method), element("code", path),
    element("span", operation.summary)), element("p", operation.description)];
  for (const parameter of operation.parameters) {
    parts.push(element("p", "", element("code", NAMES[parameter.in](parameter.name)),
      element("span", " " + PLACES[parameter.in] + ": " + spell(parameter.schema) + ". " +
        parameter.description)));
  }
  if (operation.requestBody) {
    parts.push(element("p", "Takes: " + Object.keys(operation.requestBody.content).join(", ") +
      ". " + operation.requestBody.description + " A row has:"),
    describeMembers(document_, { $ref: "#/components/schemas/Row" }));
  }
  for (const [status, response] of Object.entries(operation.responses)) {
    const [type, content] = Object.entries(response.content)[0];
    const line = element("p", status + " " + response.description + ", " + type);
    parts.push(line);
    if (status === "200") parts.push(describeMembers(document_, content.schema));
  }
  parts.push(makeTrial(method, path, operation));
  return element("details", "", ...parts);
}

async function show() {
  const text = document.getElementById("text");
  const login = document.getElementById("login");
  const [status, content] = await send("GET", "/openapi.json", [], "", undefined);
  login.hidden = status !== 401;
  if (status !== 200) {
    text.textContent = status === 401 ? "This service wants a token." : content;
    return;
  }
  const description = JSON.parse(content);
  document.getElementById("title").textContent = description.info.title;
  text.textContent = description.info.description;
  const operations = Object.entries(description.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [method.toUpperCase(), path, operation]));
  const shown = description.tags.map((tag) => element("section", "",
    element("h2", tag.name), element("p", tag.description),
    ...operations.filter(([, , operation]) => operation.tags.includes(tag.name))
      .map(([method, path, operation]) => showOperation(description, method, path, operation))));
  document.getElementById("operations").replaceChildren(...shown);
}

document.getElementById("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = document.getElementById("token").value;
  show();
});
show();
