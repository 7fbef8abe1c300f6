"""Teaches an agent to balance on a beam with deep Q-learning, a replay buffer and a target network."""

import argparse
import copy
import random
from collections import deque

import torch
import torch.nn.functional as F
from torch import nn


class Beam:
    """A ball on a beam: tilt it left or right and keep the ball near the middle."""

    def reset(self):
        self.position, self.speed, self.time = random.uniform(-0.5, 0.5), random.uniform(-0.1, 0.1), 0
        return [self.position, self.speed * 5]

    def step(self, action):
        self.speed += (0.04, 0.0, -0.04)[action] + random.gauss(0, 0.005)
        self.position += self.speed
        self.time += 1
        fallen = abs(self.position) > 1
        reward = -1.0 if fallen else 1 - abs(self.position)
        return [self.position, self.speed * 5], reward, fallen, fallen or self.time >= 40


class Agent:
    def __init__(self, width):
        self.net = nn.Sequential(
            nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)
        )
        self.target = copy.deepcopy(self.net).requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=2e-3)
        self.memory = deque(maxlen=5000)
        self.updates = 0

    def act(self, state, epsilon):
        if random.random() < epsilon:
            return random.randrange(3)
        with torch.no_grad():
            return self.net(torch.tensor([state])).argmax(1).item()

    def learn(self, batch_size=64, gamma=0.9):
        state, action, reward, after, fallen = map(
            torch.tensor, zip(*random.sample(self.memory, batch_size), strict=True)
        )
        q = self.net(state).gather(1, action.unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            best = self.net(after).argmax(1, keepdim=True)
            future = self.target(after).gather(1, best).squeeze(1)
            wanted = reward + gamma * future * ~fallen
        loss = F.smooth_l1_loss(q, wanted)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.updates += 1
        if self.updates % 50 == 0:
            self.target.load_state_dict(self.net.state_dict())
        return loss.item()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", choices=["s", "m", "l"], default="s")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    random.seed(args.seed)
    episodes, width = {"s": (50, 32), "m": (150, 64), "l": (300, 128)}[args.size]

    world, agent = Beam(), Agent(width)
    rewards, losses = [], []
    for episode in range(episodes):
        state, done, total = world.reset(), False, 0.0
        while not done:
            action = agent.act(state, epsilon=max(0.05, 1 - 2 * episode / episodes))
            after, reward, fallen, done = world.step(action)
            agent.memory.append((state, action, reward, after, fallen))
            state = after
            total += reward
            if len(agent.memory) >= 200:
                losses.append(agent.learn())
        rewards.append(total)
        if (episode + 1) % (episodes // 5) == 0:
            recent = rewards[-episodes // 5 :]
            loss = sum(losses[-100:]) / max(1, len(losses[-100:]))
            print(f"episode {episode + 1}: reward {sum(recent) / len(recent):.2f} loss {loss:.4f}")


if __name__ == "__main__":
    main()
