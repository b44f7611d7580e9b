export interface Task {
  id: number;
  title: string;
  done: boolean;
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const response = await fetch(`/api${path}`, {
    method,
    headers: body === undefined ? {} : { "content-type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}`);
  return response.status === 204 ? (undefined as T) : response.json();
}

export const listTasks = () => call<Task[]>("GET", "/tasks");
export const addTask = (title: string) => call<Task>("POST", "/tasks", { title });
export const changeTask = (id: number, done: boolean) => call<Task>("PATCH", `/tasks/${id}`, { done });
export const deleteTask = (id: number) => call<void>("DELETE", `/tasks/${id}`);
