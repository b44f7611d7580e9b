"use client";

import { useState } from "react";

export function Greeting() {
  const [answer, setAnswer] = useState("");

  async function ask() {
    const response = await fetch("/api/hello");
    const { message } = await response.json();
    setAnswer(message);
  }

  return (
    <div className="row">
      <button type="button" onClick={ask}>
        Ask the server
      </button>
      <output>{answer}</output>
    </div>
  );
}
